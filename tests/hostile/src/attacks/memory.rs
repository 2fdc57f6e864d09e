//! Guests that take memory, tables and instances.

use crate::arena::{Arena, Fate, all, fate};
use crate::attacks::{armed_with, armed_with_bytes};
use crate::component;
use crate::row::Row;

/// The default of `limits.instance-memory-bytes`.
const INSTANCE_MEMORY: u64 = 64 << 20;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("memory-grow", armed_with("growing-memory"), |arena| {
            Box::pin(grows(arena))
        }),
        Row::new("huge-copy", armed_with("huge-copy"), |arena| {
            Box::pin(arena.is_stopped("/huge-copy", "attack"))
        }),
        Row::new("huge-fill", armed_with("huge-fill"), |arena| {
            Box::pin(arena.is_stopped("/huge-fill", "attack"))
        }),
        Row::new("huge-strings", armed_with("huge-strings"), |arena| {
            Box::pin(is_heard_or_stopped(arena, "/huge-strings", "attack"))
        }),
        Row::new(
            "table-growth",
            armed_with_bytes("table-growth", growing_table()),
            |arena| Box::pin(grows_tables(arena)),
        ),
        Row::new("handle-bomb", armed_with("handle-bomb"), |arena| {
            Box::pin(arena.is_stopped("/handle-bomb", "attack"))
        }),
        Row::new("bucket-bomb", armed_with("handle-bomb"), |arena| {
            Box::pin(is_heard_or_stopped(arena, "/handle-bomb", "buckets"))
        }),
    ]
}

/// The guest gets as much as one instance may have, or less when its tenant has had enough; then it is refused.
async fn grows(arena: &Arena) -> String {
    let mut most = 0;
    let mut stopped = 0;
    let mut rounds = 0;
    let mut in_quarantine = 0;
    while in_quarantine < arena.tenants.len() && (rounds == 0 || arena.is_on()) {
        in_quarantine = 0;
        let one = async |tenant: &&str| {
            let path = format!("/{tenant}/growing-memory");
            let fate = grow(arena, &path).await;
            // It keeps what it has until its instance goes.
            arena.strike(&path, "trap").await;
            fate
        };
        for fate in all("all to grow", arena.tenants.iter().map(one)).await {
            match &fate {
                Fate::Told(bytes) => {
                    let bytes: u64 = bytes.parse().expect("it is a number");
                    assert!(bytes <= INSTANCE_MEMORY, "an instance got {bytes} bytes");
                    most = most.max(bytes);
                }
                fate => {
                    assert!(fate.is_stopped(), "not what was promised: {fate}");
                    stopped += 1;
                    in_quarantine += usize::from(fate.is_quarantined());
                }
            }
        }
        rounds += 1;
    }
    let refused = match most >> 20 {
        0 => "never refused in time".to_owned(),
        most => format!("refused at {most} MiB"),
    };
    format!("{refused}, {rounds} rounds, {stopped} stopped before")
}

/// Has one instance grow until it is refused; what it told then, or why it did not.
async fn grow(arena: &Arena, path: &str) -> Fate {
    let mut client = match arena.open(path).await {
        Ok(client) => client,
        Err(fate) => return fate,
    };
    loop {
        client.send("attack").await;
        match fate(&mut client).await {
            Fate::Told(outcome) if outcome == "grown" => (),
            fate => return fate,
        }
    }
}

/// It gets through, or it is stopped; others must not feel which.
async fn is_heard_or_stopped(arena: &Arena, path: &str, message: &str) -> String {
    let tally = arena.assault(path, message).await;
    let is_fair = |fate: &Fate| match fate {
        Fate::Told(outcome) => outcome == "accepted: []" || outcome.contains("limit-exceeded"),
        fate => fate.is_stopped(),
    };
    tally.all(is_fair).to_string()
}

/// A namespace whose table grows until that is refused; it answers how large it is then.
fn growing_table() -> Vec<u8> {
    component::namespace(
        "/table-growth",
        "(table $growing 1 funcref)",
        r#"
    (block $refused
      (loop $again
        (br_if $refused
          (i32.eq (table.grow $growing (ref.null func) (i32.const 1024)) (i32.const -1)))
        (br $again)))
    (table.size $growing)"#,
    )
}

async fn grows_tables(arena: &Arena) -> String {
    let tally = arena.assault("/table-growth", "attack").await;
    // An entry takes eight bytes at least, and must not get round the bound on memory.
    let is_fair = |fate: &Fate| match fate {
        Fate::Told(entries) => entries
            .parse::<u64>()
            .is_ok_and(|entries| entries * 8 <= INSTANCE_MEMORY),
        fate => fate.is_stopped(),
    };
    tally.all(is_fair).to_string()
}
