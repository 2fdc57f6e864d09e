//! Middlewares and controllers.

use tulpar_tests::{Request, Response};

use crate::arena::{Arena, Fate, Tally, all};
use crate::attacks::armed_with;
use crate::row::Row;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "hanging-middleware",
            armed_with("hanging-middleware"),
            |arena| Box::pin(lets_nobody_in(arena, "/hanging-middleware")),
        ),
        Row::new(
            "flooding-middleware",
            armed_with("flooding-middleware"),
            |arena| Box::pin(lets_nobody_in(arena, "/flooding-middleware")),
        ),
        Row::new("endless-stream", armed_with("endless-stream"), |arena| {
            Box::pin(is_broken_off(arena))
        }),
    ]
}

/// A middleware that is stopped is a 500, and nobody gets past it.
async fn lets_nobody_in(arena: &Arena, path: &str) -> String {
    let mut tally = Tally::default();
    let mut refused = 0;
    while refused < arena.tenants.len() && (tally.is_empty() || arena.is_on()) {
        refused = 0;
        let one = async |tenant: &&str| {
            let opened = arena.open(&format!("/{tenant}{path}?attack=1")).await;
            opened
                .err()
                .unwrap_or_else(|| panic!("a middleware that hangs let somebody in"))
        };
        for fate in all("all to be refused", arena.tenants.iter().map(one)).await {
            refused += usize::from(fate.is_quarantined());
            tally.add(fate);
        }
    }
    let tally = tally.all(|fate| matches!(fate, Fate::Refused(500 | 503)));
    let after = arena
        .still_serves(&format!("/{}{path}", arena.tenants[0]))
        .await;
    format!("{tally}; {after}")
}

/// A response without end breaks off at its size or its deadline, and a client that leaves ends it too.
async fn is_broken_off(arena: &Arena) -> String {
    let mut streams = 0;
    let mut bytes = 0;
    while streams == 0 || arena.is_on() {
        let one = async |tenant: &&str| {
            let request = Request::get(&format!("/{tenant}/endless-stream/"));
            request.broken_off(arena.server.address()).await
        };
        let broken = all("all streams to break off", arena.tenants.iter().map(one)).await;
        streams += broken.len();
        let bodies = broken.into_iter().filter_map(|broken| broken.0);
        bytes = bodies
            .map(|response: Response| response.body.len())
            .max()
            .unwrap_or(bytes);
    }
    let mut dripping = Vec::new();
    for tenant in arena.tenants {
        let mut raw = tulpar_tests::Raw::connect(arena.server.address()).await;
        raw.write(&Request::get(&format!("/{tenant}/endless-stream/drip")).bytes())
            .await;
        raw.response_head().await;
        dripping.push(raw);
    }
    drop(dripping);
    let idle = Request::get("/evil1/endless-stream/idle")
        .send(arena.server.address())
        .await;
    assert!(
        matches!(idle.status, 200 | 503),
        "after the attack: {idle:?}"
    );
    format!(
        "{streams} streams broken off, the longest after {bytes} bytes; then {}",
        idle.status
    )
}
