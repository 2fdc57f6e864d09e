//! Somebody who chats while others do harm.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::client::connect;
use crate::server::Server;

/// How often harm is done. A moment in which the machine stands still spoils one time.
const TIMES: usize = 3;

/// Chats at `/echo` while `harm` is done, and shows that each message came back, and that nobody waits for the
/// harm to end: not most of the time, nor most times.
pub async fn while_a_neighbour_chats(server: &Server, mut harm: impl AsyncFnMut()) {
    // Less than any loop here lasts.
    const SOON: Duration = Duration::from_millis(200);
    let mut neighbour = connect(server.url("/echo")).await;
    let (mut chatted, mut waited) = (0, Vec::new());
    for _ in 0..TIMES {
        let begun = Instant::now();
        let (over, mut in_vain) = (Cell::new(false), Duration::ZERO);
        let chat = async {
            // What is under way when the harm ends has still to arrive.
            while !over.get() {
                let text = format!("message {chatted}");
                let sent = Instant::now();
                neighbour.send(text.as_str()).await;
                assert_eq!(neighbour.recv_text().await, text);
                let taken = sent.elapsed();
                if taken > SOON {
                    in_vain += taken;
                }
                chatted += 1;
                tokio::task::yield_now().await;
            }
        };
        let done = async {
            harm().await;
            over.set(true);
        };
        tokio::join!(chat, done);
        waited.push((in_vain, begun.elapsed()));
    }
    let spoiled = waited.iter().filter(|(in_vain, all)| *in_vain * 2 > *all);
    assert!(
        spoiled.count() * 2 < TIMES,
        "the neighbour waited: {waited:?}"
    );
}
