//! The slow: sockets that ask for more than they read.

use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::sleep;
use tulpar_tests::{Opcode, frame, json};

use crate::way::Way;

const COUNT: usize = 20;

/// Has them ask, until the task is aborted.
pub fn begin(way: &Way) -> JoinHandle<()> {
    let way = way.clone();
    spawn_local(async move {
        let mut all = JoinSet::new();
        for number in 0..COUNT {
            all.spawn_local(ask(way.clone(), number));
        }
        while all.join_next().await.is_some() {}
    })
}

async fn ask(way: Way, number: usize) {
    // More than the operating system and the outbox hold together.
    let flood = json!({ "do": "flood", "message": "x".repeat(50_000), "at_most": 400 });
    let flood = frame(Opcode::Text, flood.to_string().as_bytes()).bytes();
    let mut rest = Duration::from_millis(10 * number as u64);
    loop {
        sleep(rest).await;
        let mut raw = way.upgraded().await;
        raw.write(&flood).await;
        for _ in 0..10 {
            // Those that read too slowly are told to go.
            if raw.frame_or_end().await.is_none() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        match number % 2 {
            0 => raw.reset(),
            _ => drop(raw),
        }
        rest = Duration::from_millis(500);
    }
}
