//! Guests that take the processor.

use crate::arena::{Arena, Fate};
use crate::attacks::armed_with;
use crate::row::Row;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("endless-loop", armed_with("endless-loop"), |arena| {
            Box::pin(arena.is_stopped("/endless-loop", "attack"))
        }),
        Row::new(
            "endless-recursion",
            armed_with("endless-recursion"),
            |arena| Box::pin(arena.is_stopped("/endless-recursion", "attack")),
        ),
        Row::new("just-in-time", armed_with("just-in-time"), |arena| {
            Box::pin(is_never_late(arena))
        }),
        Row::new("busy-service", armed_with("busy-service"), |arena| {
            Box::pin(is_busy_by_itself(arena))
        }),
    ]
}

/// Each call ends in time, so that nobody is stopped; what such a tenant may take is shared out all the same.
async fn is_never_late(arena: &Arena) -> String {
    let tally = arena.assault("/just-in-time", "attack").await;
    let is_fair = |fate: &Fate| matches!(fate, Fate::Told(_)) || fate.is_stopped();
    tally.all(is_fair).to_string()
}

/// It needs no client. What its schedules do is stopped at their own deadline, over and over.
async fn is_busy_by_itself(arena: &Arena) -> String {
    let mut served = 0;
    while arena.is_on() {
        arena.still_serves("/evil1/busy-service").await;
        served += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let failures = arena.server.stderr.with("service").len();
    format!("{failures} lines about failed runs; its namespace answered {served} times")
}
