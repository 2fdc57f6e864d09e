//! A guest that is replaced: it serves `/swap` and says of which generation it is.

use crate::client::{Client, Value};
use crate::eventually;
use crate::guests::Mould;
use crate::server::Server;

/// The guest as it is in one generation.
pub fn generation(number: u32) -> Mould {
    Mould::reloaded("/swap", &number.to_string())
}

/// A server with the first generation, in `swap.wasm`.
pub fn server() -> Server {
    Server::with(&[])
        .file("swap.wasm", &generation(1).bytes())
        .start()
}

/// What the guest answers to a text, as far as it is not about a replacement.
pub async fn ask(client: &mut Client, text: &str) -> Value {
    client.send(text).await;
    loop {
        let answer = client.recv_json().await;
        if answer.get("reloaded").is_none() {
            assert_eq!(answer["text"], text);
            return answer;
        }
    }
}

/// Waits until that generation answers.
pub async fn be_of(client: &mut Client, number: u32) {
    let what = format!("generation {number}");
    eventually(&what, async || {
        (ask(client, "which?").await["generation"].as_str() == Some(&number.to_string()))
            .then_some(())
    })
    .await;
}
