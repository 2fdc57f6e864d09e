//! Guests that call the host without end: a row for each import.

use crate::arena::{Arena, Fate};
use crate::attacks::armed_with;
use crate::row::Row;

/// Each function of the contract that a namespace can call, and those of WASI that cost the host something. The guest
/// `import-flood` has the same table.
const IMPORTS: [&str; 51] = [
    "socket.id",
    "socket.remote-address",
    "socket.values",
    "socket.set-values",
    "socket.send",
    "socket.ping",
    "socket.buffered-amount",
    "socket.subscribe",
    "socket.unsubscribe",
    "socket.is-subscribed",
    "socket.rooms",
    "socket.publish",
    "socket.close",
    "socket.terminate",
    "sockets.get",
    "sockets.ids",
    "sockets.count",
    "rooms.names",
    "rooms.members",
    "rooms.count",
    "rooms.to",
    "rooms.broadcast",
    "ulak.broadcast",
    "ulak.to",
    "ulak.to-socket",
    "ulak.to-many",
    "ulak.broadcast-all",
    "ulak.bulk-send",
    "ulak.namespaces",
    "ulak.has-namespace",
    "ulak.socket-count",
    "cluster.socket-count",
    "cluster.socket-ids",
    "cluster.room-names",
    "cluster.room-count",
    "cluster.room-members",
    "log",
    "stdout",
    "config.get",
    "config.get-all",
    "kv.open",
    "kv.get",
    "kv.set",
    "kv.increment",
    "kv.keys",
    "kv.delete",
    "kv.set-many",
    "kv.get-many",
    "fetch",
    "clocks.now",
    "random.get",
];

pub fn rows() -> Vec<Row> {
    let log_bomb = Row::new("log-bomb", armed_with("log-bomb"), |arena| {
        Box::pin(bursts(arena, "/log-bomb", "attack"))
    });
    let floods = IMPORTS.iter().map(|import| {
        Row::new(
            format!("flood {import}"),
            armed_with("import-flood"),
            |arena| Box::pin(floods(arena, import)),
        )
    });
    [log_bomb].into_iter().chain(floods).collect()
}

/// The guest that never stops is stopped; the one that stops a little before its deadline may go on, as long as others do
/// not feel it.
async fn floods(arena: &Arena, import: &str) -> String {
    let path = format!("/{}/import-flood", arena.tenants[0]);
    let first = arena.strike(&path, &format!("flood {import}")).await;
    assert!(is_bounded(&first), "not what was promised: {first}");
    arena.still_serves(&path).await;
    let bursts = bursts(arena, "/import-flood", &format!("burst {import}")).await;
    format!("{first}; then {bursts}")
}

async fn bursts(arena: &Arena, path: &str, message: &str) -> String {
    let tally = arena.assault(path, message).await;
    let is_fair = |fate: &Fate| matches!(fate, Fate::Told(_)) || is_bounded(fate);
    tally.all(is_fair).to_string()
}

/// It was stopped at its deadline, refused for the number of its calls, or lost its own socket by what it did to it.
fn is_bounded(fate: &Fate) -> bool {
    match fate {
        Fate::Told(outcome) => outcome == "limit-exceeded",
        Fate::Closed(code) => matches!(code, 1000 | 1008 | 1011),
        Fate::Dropped => true,
        Fate::Refused(status) => *status == 503,
    }
}
