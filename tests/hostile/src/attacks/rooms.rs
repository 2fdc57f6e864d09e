//! Guests that go after rooms and those in them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tulpar_tests::Raw;

use crate::arena::{Arena, Fate, Tally, all, fate};
use crate::attacks::armed_with;
use crate::row::Row;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("room-bomb", armed_with("room-bomb"), |arena| {
            Box::pin(joins_too_many(arena))
        }),
        Row {
            // The rooms of a namespace may be a hundred thousand, whose names alone take 25 MiB.
            may_keep: 96 << 20,
            ..Row::new(
                "subscription-bomb",
                armed_with("subscription-bomb"),
                |arena| Box::pin(fills_the_namespace(arena)),
            )
        },
        Row::new(
            "subscription-churn",
            armed_with("subscription-bomb"),
            |arena| Box::pin(arena.is_stopped("/subscription-bomb", "churn")),
        ),
        Row::new("publish-storm", armed_with("publish-storm"), |arena| {
            Box::pin(storms(arena))
        }),
    ]
}

/// A socket gets into a thousand rooms, and into none with a name of a MiB.
async fn joins_too_many(arena: &Arena) -> String {
    let tally = arena.assault("/room-bomb", "attack").await;
    let is_fair = |fate: &Fate| match fate {
        Fate::Told(outcome) => outcome
            .split_once(" rooms, 0 with long names")
            .and_then(|(joined, _)| joined.parse::<u32>().ok())
            .is_some_and(|joined| joined <= 1000),
        fate => fate.is_stopped(),
    };
    tally.all(is_fair).to_string()
}

/// Many sockets, each in as many rooms as it may be in: the namespace has a bound too. Then all leave, and others come.
async fn fills_the_namespace(arena: &Arena) -> String {
    let mut most = 0;
    let mut waves = 0;
    let mut tally = Tally::default();
    while waves == 0 || arena.is_on() {
        most = most.max(wave(arena, &mut tally).await);
        waves += 1;
    }
    let others = match tally.is_empty() {
        true => "nobody stopped".to_owned(),
        false => tally.all(Fate::is_stopped).to_string(),
    };
    format!("at most {most} rooms, {waves} times; {others}")
}

/// How many rooms a crowd of sockets could join.
async fn wave(arena: &Arena, tally: &mut Tally) -> u64 {
    const SOCKETS: usize = 150;
    const ROOMS: u64 = 100_000;
    let path = format!("/{}/subscription-bomb", arena.tenants[0]);
    let mut clients = Vec::new();
    let mut joined = 0;
    for _ in 0..SOCKETS {
        let mut client = match arena.open(&path).await {
            Ok(client) => client,
            Err(fate) => {
                tally.add(fate);
                break;
            }
        };
        client.send("attack").await;
        match fate(&mut client).await {
            Fate::Told(outcome) => {
                let rooms = outcome
                    .strip_suffix(" rooms")
                    .and_then(|rooms| rooms.parse::<u64>().ok());
                joined += rooms.unwrap_or_else(|| panic!("not what was promised: {outcome}"));
            }
            fate => tally.add(fate),
        }
        clients.push(client);
    }
    assert!(joined <= ROOMS, "the namespace has {joined} rooms");
    joined
}

/// A full room: some read, some do not. What waits for those who do not is bounded.
async fn storms(arena: &Arena) -> String {
    const READERS: usize = 8;
    const DEAF: usize = 4;
    let mut members = Vec::new();
    for tenant in arena.tenants {
        let path = format!("/{tenant}/publish-storm");
        for _ in 0..READERS + DEAF {
            members.extend(member(arena, &path).await);
        }
    }
    let count = members.len();
    let (mut readers, deaf): (Vec<_>, Vec<_>) = members
        .into_iter()
        .enumerate()
        .partition(|(index, _)| index % (READERS + DEAF) < READERS);
    let read = join_all(readers.iter_mut().map(|(_, stream)| read_on(stream)));
    let tally = tokio::select! {
        biased;
        tally = arena.assault("/publish-storm", "attack") => tally,
        _ = read => panic!("all who read were closed"),
    };
    // They have waited for nobody, and are let go of.
    drop(deaf);
    let is_fair = |fate: &Fate| match fate {
        Fate::Told(_) => true,
        fate => fate.is_stopped(),
    };
    format!("{count} members; {}", tally.all(is_fair))
}

/// A connection whose bytes nobody looks at; none when the plugin is in quarantine by now.
async fn member(arena: &Arena, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(arena.server.address()).await.ok()?;
    stream.write_all(&Raw::upgrade_request(path)).await.ok()?;
    let mut head = [0; 12];
    let read = all("the head of a response", [stream.read_exact(&mut head)]).await;
    read.into_iter().all(|read| read.is_ok()).then_some(())?;
    (head.ends_with(b" 101")).then_some(stream)
}

/// Reads whatever comes to the end of the connection, which is what the members of a room do who keep up.
async fn read_on(stream: &mut TcpStream) {
    let mut buffer = vec![0; 256 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    // Who has been closed waits with the others.
    tokio::time::sleep(Duration::from_millis(1)).await;
}
