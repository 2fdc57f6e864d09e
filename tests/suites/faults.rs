//! What networks do to a server, and what it does when it has no descriptors left: rule V2. For longer, and more of it:
//! `make soak`. Disks that are full are in `disks.rs`.

use std::fs;
use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Mould, Opcode, PATIENCE, Raw, Server, Signal, Value, become_served, connect,
    eventually, frame, get, json, next_event, observer,
};

/// How many connections there are of each kind.
const EACH: usize = 20;

/// Waits until the server has no more descriptors open than `before`.
async fn has_let_go(server: &Server, what: &str, before: usize) {
    eventually(
        &format!("the descriptors to be back ({what})"),
        async || (server.descriptors() <= before).then_some(()),
    )
    .await;
}

/// How many descriptors the server has when it is ready, and nobody but the observer is there.
async fn descriptors(server: &Server) -> usize {
    // The last that it opens when it starts is for the operator.
    eventually("the server to be ready", async || {
        (server.admin_status("/ready") == Some(200)).then_some(())
    })
    .await;
    server.descriptors()
}

/// Stops a server whose clients are gone, and waits until all that it has said is here.
fn stop(server: &mut Server) {
    server.signal(Signal::TERM);
    server.wait_exit(PATIENCE);
}

/// How many sockets there are, by the plugin and by the operator's list.
async fn sockets(server: &Server, client: &mut Client) -> (usize, u64) {
    let ids = client.ask(json!({ "do": "ids" })).await;
    let ids = ids.as_array().expect("it is a list").len();
    let listed = server.tulpar(&["plugins", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.expect("it lists")).expect("it is JSON");
    let listed = listed[0]["sockets"].as_u64();
    (ids, listed.expect("it is a number"))
}

/// Counts the sockets that have opened and closed, as the observer hears of them.
#[derive(Default)]
struct Heard {
    opened: usize,
    closed: usize,
}

impl Heard {
    /// Takes in what is there by now.
    async fn hear(&mut self, observer: &mut Client) {
        observer.send(json!({ "do": "nothing" }).to_string()).await;
        loop {
            let message = observer.recv_json().await;
            match message["event"].as_str() {
                Some("open") => self.opened += 1,
                Some("close") => self.closed += 1,
                _ => return,
            }
        }
    }

    /// Waits until all that opened have closed, and gives how many they were. That a socket has closed is told a moment later
    /// than it is let go.
    async fn all(mut self, observer: &mut Client) -> usize {
        eventually("all that opened to close", async || {
            self.hear(observer).await;
            (self.opened == self.closed).then_some(self.opened)
        })
        .await
    }
}

/// Where a connection is when it breaks.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeTheRequest,
    WithinTheRequest,
    BehindTheRequest,
    Open,
    WithinAHeader,
    WithinAFrame,
    WithinAMessage,
    WithinItsHandler,
    WithAnswersUnread,
    BehindItsCloseFrame,
    BeforeItsCloseFrame,
    WithinItsCloseFrame,
    BehindBothCloseFrames,
}

use Moment::*;

const MOMENTS: [Moment; 13] = [
    BeforeTheRequest,
    WithinTheRequest,
    BehindTheRequest,
    Open,
    WithinAHeader,
    WithinAFrame,
    WithinAMessage,
    WithinItsHandler,
    WithAnswersUnread,
    BehindItsCloseFrame,
    BeforeItsCloseFrame,
    WithinItsCloseFrame,
    BehindBothCloseFrames,
];

impl Moment {
    /// A connection that has come so far.
    async fn reach(self, server: &Server) -> Raw {
        const CLOSE: &[u8] = b"\x0f\xa0bye";
        let request = Raw::upgrade_request("/commander");
        let mut raw = match self {
            BeforeTheRequest | WithinTheRequest | BehindTheRequest => {
                Raw::connect(server.address()).await
            }
            _ => Raw::upgraded(server.address(), "/commander").await,
        };
        let text = |command: Value| frame(Opcode::Text, command.to_string().as_bytes()).bytes();
        match self {
            BeforeTheRequest | Open => (),
            WithinTheRequest => raw.write(&request[..request.len() / 2]).await,
            BehindTheRequest => raw.write(&request).await,
            WithinAHeader => raw.write(&[0x81]).await,
            WithinAFrame => raw.write(&frame(Opcode::Text, b"hello").bytes()[..8]).await,
            WithinAMessage => raw.send(frame(Opcode::Text, b"hello").unfinished()).await,
            WithinItsHandler => raw.write(&text(json!({ "do": "busy", "ms": 5 }))).await,
            WithAnswersUnread => {
                let flood = json!({ "do": "flood", "message": "x".repeat(60_000), "at_most": 100 });
                raw.write(&text(flood)).await;
                raw.frame().await;
            }
            BehindItsCloseFrame => raw.send(frame(Opcode::Close, CLOSE)).await,
            BeforeItsCloseFrame | WithinItsCloseFrame => {
                let close = json!({ "do": "close", "code": 4000, "reason": "" });
                raw.write(&text(close)).await;
                assert_eq!(raw.close_frame().await.0, 4000);
                if let WithinItsCloseFrame = self {
                    raw.write(&frame(Opcode::Close, CLOSE).bytes()[..5]).await;
                }
            }
            BehindBothCloseFrames => {
                raw.send(frame(Opcode::Close, CLOSE)).await;
                assert_eq!(raw.close_frame().await.0, 4000);
            }
        }
        raw
    }
}

/// What is done with connections at each moment leaves nothing behind: each socket that opened has closed, once, and
/// all that was taken is given back.
async fn leaves_nothing_behind(config: &str, end: impl AsyncFn(Raw, &Server)) {
    let mut server = Server::with(&["commander"]).config(config).start();
    let mut observer = observer(&server, "/commander").await;
    let before = descriptors(&server).await;
    for moment in MOMENTS {
        for _ in 0..EACH {
            end(moment.reach(&server).await, &server).await;
        }
        // Connections are accepted in their order: behind this one, all are known to the server.
        assert_eq!(get(server.address(), "/nowhere").await.status, 404);
        has_let_go(&server, &format!("{moment:?}"), before).await;
        let opened = Heard::default().all(&mut observer).await;
        match moment {
            BeforeTheRequest | WithinTheRequest => assert_eq!(opened, 0, "{moment:?}"),
            // It may be gone before it is a socket.
            BehindTheRequest => assert!(opened <= EACH, "{opened}"),
            _ => assert_eq!(opened, EACH, "{moment:?}"),
        }
        assert_eq!(sockets(&server, &mut observer).await, (1, 1), "{moment:?}");
    }
    drop(observer);
    stop(&mut server);
    server.has_not_panicked();
}

#[tokio::test]
async fn v2_a_reset_leaves_nothing_behind_whenever_it_comes() {
    leaves_nothing_behind("", async |raw, _| raw.reset()).await;
}

#[tokio::test]
async fn v2_an_end_leaves_nothing_behind_whenever_it_comes() {
    leaves_nothing_behind("", async |raw, _| drop(raw)).await;
}

/// One half of a connection ends, and the other never does: the peer's machine is there, and the peer does nothing.
#[tokio::test]
async fn v2_half_an_end_leaves_nothing_behind_whenever_it_comes() {
    // The end of the one half is heard at once, and not when some time is over.
    let config = "[timeouts]\nhandshake-ms = 20000\nclose-ms = 20000";
    let held = std::cell::RefCell::new(Vec::new());
    leaves_nothing_behind(config, async |mut raw, _| {
        raw.finish().await;
        held.borrow_mut().push(raw);
    })
    .await;
    assert_eq!(held.borrow().len(), MOMENTS.len() * EACH);
}

#[tokio::test]
async fn v2_a_peer_that_never_ends_is_left_when_its_time_is_over() {
    let config =
        |handshake_ms: u32| format!("[timeouts]\nhandshake-ms = {handshake_ms}\nclose-ms = 200");
    let mut server = Server::with(&["commander"]).config(&config(60_000)).start();
    let mut observer = observer(&server, "/commander").await;
    let before = descriptors(&server).await;
    let mut held = Vec::new();
    for moment in [
        BehindItsCloseFrame,
        BeforeItsCloseFrame,
        WithinItsCloseFrame,
        BehindBothCloseFrames,
        BeforeTheRequest,
        WithinTheRequest,
    ] {
        if let BeforeTheRequest = moment {
            // From here on nobody is to come through a handshake.
            fs::write(server.folder().join("tulpar.toml"), config(200))
                .expect("the file can be written");
            server.signal(Signal::HUP);
            server.log_line(&["the configuration has been read again"]);
        }
        for _ in 0..EACH {
            held.push(moment.reach(&server).await);
        }
        // It hangs up, on those too that it has not accepted yet.
        for raw in &mut held {
            raw.rest().await;
        }
        has_let_go(&server, &format!("{moment:?}"), before).await;
        Heard::default().all(&mut observer).await;
    }
    drop(observer);
    stop(&mut server);
    server.has_not_panicked();
}

#[tokio::test]
async fn v2_connections_that_come_and_go_by_the_thousand_leave_nothing_behind() {
    const ROUNDS: usize = 40;
    const AT_ONCE: usize = 50;
    let mut server = Server::with(&["commander"])
        .env("TULPAR_LOG", "warn")
        .start();
    let mut observer = observer(&server, "/commander").await;
    let before = descriptors(&server).await;
    let (mut heard, mut memory) = (Heard::default(), 0);
    for round in 0..ROUNDS {
        let mut held = Vec::new();
        for number in 0..AT_ONCE {
            let mut raw = Raw::connect(server.address()).await;
            if number % 2 == 0 {
                raw.write(&Raw::upgrade_request("/commander")).await;
            }
            held.push(raw);
        }
        for (number, mut raw) in held.into_iter().enumerate() {
            if number % 4 == 0 {
                assert_eq!(raw.response().await.status, 101);
            }
            match number % 3 {
                0 => raw.reset(),
                _ => drop(raw),
            }
        }
        heard.hear(&mut observer).await;
        if round == ROUNDS / 4 {
            memory = server.resident_bytes();
        }
    }
    has_let_go(&server, "all", before).await;
    let opened = heard.all(&mut observer).await;
    assert!(opened >= ROUNDS * AT_ONCE / 4, "{opened}");
    assert_eq!(sockets(&server, &mut observer).await, (1, 1));
    let grown = server.resident_bytes().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes more");
    drop(observer);
    stop(&mut server);
    assert_eq!(server.stderr.text(), "");
}

/// A server that has no descriptors left, and since when it may have run out of them: the connections that are one too many
/// wait, and so does `late.wasm`.
async fn exhausted() -> (Server, Client, Vec<Raw>, Instant) {
    const LEFT: usize = 20;
    let server = Server::with(&["commander"]).start();
    let mut client = observer(&server, "/commander").await;
    let most = descriptors(&server).await + LEFT;
    let limited = Instant::now();
    server.limit_descriptors(most);
    let mut crowd = Vec::new();
    for _ in 0..2 * LEFT {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Raw::upgrade_request("/commander")).await;
        crowd.push(raw);
    }
    server.log_line(&["cannot accept a connection"]);
    // Nobody is turned away who was in before.
    for _ in 0..LEFT / 2 {
        next_event(&mut client, "open").await;
    }
    (server, client, crowd, limited)
}

#[tokio::test]
async fn v2_without_descriptors_nothing_is_accepted_and_everybody_else_is_served() {
    let (mut server, mut client, crowd, limited) = exhausted().await;
    let refused = || server.stderr.with("cannot accept a connection").len();
    let (begun, spent, so_far) = (Instant::now(), server.processor_ms(), refused());
    // It tries again, but not all the time.
    while refused() < so_far + 5 {
        client.send("hello").await;
        while client.recv_text().await != "hello" {}
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The clock is read last: when the test is held back, it has been longer.
    let tries = u32::try_from(refused()).expect("they are few");
    let since = limited.elapsed();
    assert!(
        since >= Duration::from_millis(100) * (tries - 1),
        "{tries} times in {since:?}"
    );
    let spent = server.processor_ms() - spent;
    let taken = begun.elapsed();
    assert!(
        u128::from(spent) < taken.as_millis() / 2,
        "{spent} ms of {taken:?}"
    );

    // When some leave, those who wait have their turn.
    let mut waiting = crowd;
    drop(waiting.drain(..waiting.len() / 2));
    for raw in &mut waiting {
        assert_eq!(raw.response().await.status, 101);
    }
    drop(waiting);
    let mut newcomer = connect(server.url("/commander")).await;
    newcomer.ask(json!({ "do": "nothing" })).await;
    drop(newcomer);
    eventually("the others to be gone", async || {
        (sockets(&server, &mut connect(server.url("/commander")).await).await == (2, 2))
            .then_some(())
    })
    .await;
    drop(client);
    stop(&mut server);
    server.has_not_panicked();
}

#[tokio::test]
async fn v2_a_plugin_that_comes_while_there_are_no_descriptors_is_served_later() {
    let (mut server, client, crowd, _) = exhausted().await;
    let looked = || server.stderr.with("cannot read the plugins folder").len();
    let before = looked();
    server.drop_in("late.wasm", &Mould::namespace("/late").bytes());
    eventually("the server to look for it", async || {
        (looked() > before).then_some(())
    })
    .await;
    drop(crowd);
    become_served(&server, "/late").await;
    drop(client);
    stop(&mut server);
    server.has_not_panicked();
}
