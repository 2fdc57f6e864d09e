//! The guest `commander` and its room of observers, which hears of every socket that opens and closes.

use crate::client::{Client, Connect, Value, connect, json};
use crate::server::Server;

/// A socket of `path`, where a commander obeys, that hears which others open and close.
pub async fn observer(server: &Server, path: &str) -> Client {
    let mut observer = connect(server.url(path)).await;
    let joined = observer
        .ask(json!({ "do": "subscribe", "room": "observers" }))
        .await;
    assert_eq!(joined, "done");
    observer
}

/// A socket of the guest `scripted` with these values: under `open` and `close` the commands to obey then.
pub async fn scripted(server: &Server, values: Value) -> Client {
    let url = server.url("/scripted");
    Connect::to(url)
        .header("x-values", values.to_string())
        .open()
        .await
}

/// The next event of that kind that an observer hears.
pub async fn next_event(observer: &mut Client, kind: &str) -> Value {
    loop {
        let event = observer.recv_json().await;
        assert!(
            event["event"].is_string(),
            "waited for the event `{kind}`, but got {event}"
        );
        if event["event"] == kind {
            return event;
        }
    }
}
