//! Guests that fail.

use tulpar_tests::Client;

use crate::arena::{Arena, Fate, fate};
use crate::attacks::armed_with;
use crate::row::Row;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("trap-on-every-call", armed_with("trap-always"), |arena| {
            Box::pin(ends_in_quarantine(arena))
        }),
        Row::new(
            "trap-in-on-close",
            armed_with("trap-in-on-close"),
            |arena| Box::pin(is_cleaned_up(arena)),
        ),
    ]
}

/// After five traps in ten seconds its upgrades get 503 with Retry-After.
async fn ends_in_quarantine(arena: &Arena) -> String {
    let mut traps = 0;
    loop {
        match arena.strike("/evil1/trap-always", "anything").await {
            Fate::Closed(1011) => traps += 1,
            fate if fate.is_quarantined() => break,
            fate => panic!("not what was promised: {fate}"),
        }
        assert!(
            traps < 50,
            "it has trapped {traps} times and is not in quarantine"
        );
    }
    // Its fellows go on meanwhile, and one's quarantine is not the other's.
    let tally = arena.assault("/trap-always", "anything").await;
    let tally = tally.all(Fate::is_stopped);
    format!("in quarantine after {traps} connections; {tally}")
}

/// That the handler of its end traps costs a socket nothing: it is out of its rooms, and others stay in theirs.
async fn is_cleaned_up(arena: &Arena) -> String {
    let mut closed = 0;
    let mut observers: Vec<Client> = Vec::new();
    for tenant in arena.tenants {
        let path = format!("/{tenant}/trap-in-on-close");
        observers.extend(arena.open(&path).await.ok());
    }
    assert_eq!(
        observers.len(),
        arena.tenants.len(),
        "each is served at first"
    );
    'attack: while closed == 0 || arena.is_on() {
        let mut refused = 0;
        for tenant in arena.tenants {
            match arena.open(&format!("/{tenant}/trap-in-on-close")).await {
                Ok(mut client) => {
                    client.close(1000, "").await;
                    closed += 1;
                }
                Err(fate) if fate.is_quarantined() => refused += 1,
                Err(fate) => panic!("not what was promised: {fate}"),
            }
        }
        if refused == arena.tenants.len() {
            break 'attack;
        }
    }
    let mut alone = 0;
    for observer in &mut observers {
        observer.send("members").await;
        match observer.recv_or_end().await {
            Some(message) if message.to_text().is_ok_and(|text| text == "1") => alone += 1,
            Some(message) if message.is_close() || message.is_text() => {
                let ended = if message.is_close() {
                    Fate::Closed(1011)
                } else {
                    fate(observer).await
                };
                assert!(ended.is_stopped(), "not what was promised: {ended}");
            }
            other => panic!("an observer got {other:?}"),
        }
    }
    format!("{closed} sockets closed; {alone} observers alone in their rooms")
}
