//! What becomes of a peer that reads too slowly under each policy, and what its handler hears of it: rule R7.

use std::time::Duration;

use tokio::time::sleep;
use tulpar_tests::{
    Client, Frame, Opcode, Raw, Server, Value, allow_many_files, connect, eventually,
    expect_handler_error, frame, json, observer, within,
};

/// What a peer that reads too slowly is closed with, when it is.
const SLOW_CONSUMER: (u16, &str) = (1008, "Slow consumer");

const POLICIES: [&str; 3] = ["close", "drop-newest", "drop-oldest"];

/// A server of which slow peers are treated so, with the guest `drained`, which tells observers of its drains. Whoever is
/// closed has all the time to read why.
fn that(policy: &str, outbox: usize) -> Server {
    closing_within(60_000, policy, outbox)
}

/// The same, with so many milliseconds for whoever is closed.
fn closing_within(close_ms: u32, policy: &str, outbox: usize) -> Server {
    let config = format!(
        "[limits]\noutbox-bytes = {outbox}\n[sockets]\nslow-consumer = '{policy}'\n[timeouts]\nclose-ms = {close_ms}"
    );
    Server::with(&["drained"]).config(&config).start()
}

/// A socket whose on-open has returned, so that no observer hears of it later, and its id.
async fn member(server: &Server) -> (Client, Value) {
    let mut member = connect(server.url("/drained")).await;
    let id = member.ask(json!({ "do": "id" })).await;
    (member, id)
}

/// The same, but nobody reads from it.
async fn deaf(server: &Server) -> (Raw, String) {
    let mut deaf = Raw::narrow(server.address(), "/drained").await;
    let id = id_of(&mut deaf).await;
    (deaf, id)
}

async fn id_of(socket: &mut Raw) -> String {
    socket.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&socket.frame().await.payload).expect("it is JSON");
    answer["answer"].as_str().expect("it is an id").to_owned()
}

/// The next thing that an observer hears is what is said to it now.
async fn expect_no_event(observer: &mut Client, sender: &mut Client) {
    let marker = json!({ "event": "marker" });
    let tell = json!({ "do": "to", "room": "observers", "message": marker.to_string() });
    sender.ask(tell).await;
    assert_eq!(observer.recv_json().await, marker);
}

#[tokio::test]
async fn r7_each_policy_at_the_limit_and_one_past() {
    for policy in POLICIES {
        let server = that(policy, 20);
        let (mut sender, _) = member(&server).await;
        let refused = json!({ "error": "backpressure" });
        // Of the last two, what the third message is answered, and what waits then; a close frame has 17 bytes.
        let expected = match policy {
            "close" => json!(["done", "done", 20, refused, 17]),
            "drop-newest" => json!(["done", "done", 20, refused, 20]),
            _ => json!(["done", "done", 20, "done", 12]),
        };
        // Rarely, a handler hands the thread back in between, and the first leaves before the next comes.
        let mut peer = eventually(&format!("{policy} to take effect"), async || {
            let (peer, id) = member(&server).await;
            let send = |text: &str| json!({ "do": "send", "on": id, "message": text });
            let buffered = json!({ "do": "buffered-amount", "on": id });
            let commands = [
                send("aaaaaaaa"),
                send("bbbbbbbb"),
                buffered.clone(),
                send(""),
                buffered,
            ];
            let answer = sender.ask(json!(commands)).await;
            (answer == expected).then_some(peer)
        })
        .await;
        let texts = match policy {
            "close" => {
                let (code, reason) = peer.expect_close().await;
                assert_eq!((code, reason.as_str()), SLOW_CONSUMER);
                continue;
            }
            "drop-newest" => ["aaaaaaaa", "bbbbbbbb"],
            _ => ["bbbbbbbb", ""],
        };
        for text in texts {
            assert_eq!(peer.recv_text().await, text, "{policy}");
        }
        assert_eq!(peer.ask(json!({ "do": "buffered-amount" })).await, 0);
        drop(peer);
        server.log_line(&["a slow consumer", "dropped=1", "/drained"]);
    }
}

#[tokio::test]
async fn r7_a_slow_peer_gets_whole_messages_in_order_under_each_policy() {
    const LAST: usize = 30_000;
    for policy in ["drop-newest", "drop-oldest"] {
        let server = that(policy, 32 << 10);
        let (mut sender, _) = member(&server).await;
        let (mut deaf, id) = deaf(&server).await;
        for from in (0..LAST).step_by(1000) {
            let number = json!({ "do": "number", "on": id, "from": from, "to": from + 1000 });
            let answer = sender.ask(number).await;
            assert!(
                answer == "done" || answer["error"] == "backpressure",
                "{answer}"
            );
        }
        let number = |frame: Frame| {
            assert_eq!(frame.first, Frame::whole(Opcode::Text, &[]).first);
            let text = String::from_utf8(frame.payload).expect("it is UTF-8");
            text.parse::<usize>().expect("it is a number")
        };
        let mut numbers = Vec::new();
        let mut end = (policy == "drop-oldest").then_some(LAST - 1);
        while end.is_none() || numbers.last() != end.as_ref() {
            numbers.push(number(deaf.frame().await));
            if end.is_none() && numbers.len() % 100 == 0 {
                // Until there is room again.
                let more = json!({ "do": "number", "on": id, "from": LAST, "to": LAST + 1 });
                end = (sender.ask(more).await == "done").then_some(LAST);
            }
        }
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "{policy}: {numbers:?}"
        );
        assert!(numbers.len() < LAST, "{policy}: nothing was dropped");
    }
}

#[tokio::test]
async fn r7_on_drain_runs_when_more_than_half_was_full_and_all_has_left() {
    const OUTBOX: usize = 10_000;
    for policy in POLICIES {
        let server = that(policy, OUTBOX);
        let (mut sender, _) = member(&server).await;
        let (mut peer, id) = member(&server).await;
        let mut observer = observer(&server, "/drained").await;
        // What is here already may not have left for all that the server knows, and would count beside what comes next.
        let has_left = async |sender: &mut Client| {
            let buffered = json!({ "do": "buffered-amount", "on": id });
            eventually("all to have left", async || {
                (sender.ask(buffered.clone()).await == 0).then_some(())
            })
            .await;
        };
        let mut send = async |bytes: usize| {
            has_left(&mut sender).await;
            let send = json!({ "do": "send", "on": id, "message": { "bytes_of": bytes } });
            assert_eq!(sender.ask(send).await, "done");
            assert_eq!(peer.recv_bytes().await.len(), bytes);
            has_left(&mut sender).await;
            // It would be told before its next message.
            peer.expect_nothing().await;
        };
        let half = OUTBOX / 2 - 4;
        send(half).await;
        send(half + 1).await;
        send(half).await;
        let drained = observer.recv_json().await;
        assert_eq!(drained["event"], "drain");
        assert_eq!((&drained["id"], &drained["buffered"]), (&id, &json!(0)));
        expect_no_event(&mut observer, &mut sender).await;
    }
}

#[tokio::test]
async fn r7_on_drain_runs_when_something_was_dropped_and_the_rest_has_left() {
    for policy in ["drop-newest", "drop-oldest"] {
        let server = that(policy, 64 << 10);
        let (mut sender, _) = member(&server).await;
        let (mut deaf, id) = deaf(&server).await;
        let mut observer = observer(&server, "/drained").await;
        let flood =
            json!({ "do": "flood", "on": id, "message": { "bytes_of": 1000 }, "at_most": 500 });
        let buffered = json!({ "do": "buffered-amount", "on": id });
        // Until the operating system takes no more; what it takes empties the queue too.
        let mut full = 0;
        while full < 5 {
            sender.ask(flood.clone()).await;
            full = match sender.ask(buffered.clone()).await.as_u64() {
                Some(50_000..) => full + 1,
                _ => 0,
            };
        }
        let marker = json!({ "event": "marker" });
        let tell = json!({ "do": "to", "room": "observers", "message": marker.to_string() });
        sender.ask(tell).await;
        while observer.recv_json().await != marker {}
        // It reads until there is nothing left.
        let drained = async { observer.recv_json().await };
        let read = async {
            loop {
                deaf.frame().await;
            }
        };
        let drained = tokio::select! {
            drained = drained => drained,
            () = read => unreachable!("it does not end"),
        };
        assert_eq!(
            (&drained["event"], &drained["id"]),
            (&json!("drain"), &json!(id))
        );
        assert_eq!(drained["buffered"], 0, "{policy}");
        expect_no_event(&mut observer, &mut sender).await;
    }
}

#[tokio::test]
async fn c5_c6_an_on_drain_that_fails_closes_its_socket_alone() {
    let server = that("close", 1000);
    let (mut sender, _) = member(&server).await;
    for (failure, why) in [("fail", "as told"), ("panic", "the guest trapped")] {
        let (mut peer, id) = member(&server).await;
        let script = json!({ "drain": [{ "do": failure, "text": "as told" }] });
        peer.ask(json!({ "do": "set-data", "value": script })).await;
        sender
            .ask(json!({ "do": "send", "on": id, "message": { "bytes_of": 600 } }))
            .await;
        assert_eq!(peer.recv_bytes().await.len(), 600);
        expect_handler_error(&mut peer).await;
        server.log_line(&["on-drain: ", why, "/drained"]);
        sender.expect_nothing().await;
    }
}

#[tokio::test]
async fn r7_a_socket_that_is_closed_for_being_slow_is_not_drained() {
    let server = that("close", 64 << 10);
    let (mut sender, _) = member(&server).await;
    let (mut deaf, id) = deaf(&server).await;
    let mut observer = observer(&server, "/drained").await;
    let send = json!({ "do": "send", "on": id, "message": { "bytes_of": 10_000 } });
    while sender.ask(send.clone()).await == "done" {}
    sender.expect_nothing().await;
    assert_eq!(deaf.close_frame().await.0, SLOW_CONSUMER.0);
    deaf.send(frame(Opcode::Close, &SLOW_CONSUMER.0.to_be_bytes()))
        .await;
    // Before, the queue may have been full and empty again.
    while observer.recv_json().await["event"] != "close" {}
    expect_no_event(&mut observer, &mut sender).await;
}

#[tokio::test]
async fn r7_the_operating_system_holds_no_more_for_a_slow_peer_than_it_is_given() {
    const MESSAGE: usize = 10_000;
    // What it takes beside that: the client's own buffers, one message in the outbox, and one of which a part is written.
    const ELSEWHERE: usize = (256 << 10) + 2 * MESSAGE;
    let mut before = 0;
    for unsent in [16 << 10, 128 << 10, 1 << 20] {
        let config = format!(
            "[limits]\noutbox-bytes = {MESSAGE}\nunsent-bytes = {unsent}\n[sockets]\nslow-consumer = 'drop-newest'"
        );
        let server = Server::with(&["drained"]).config(&config).start();
        let (mut sender, _) = member(&server).await;
        let mut deaf = Raw::upgraded(server.address(), "/drained").await;
        let id = id_of(&mut deaf).await;
        let send = json!({ "do": "send", "on": id, "message": { "bytes_of": MESSAGE } });
        let (mut taken, mut refused) = (0, 0);
        // What is refused once may be taken again, while the operating system still moves what it has, or a thread of the
        // server's that is held back has still to give it something.
        let what = format!("more than {before} bytes to be taken of {unsent}");
        within(&what, async {
            while refused < 50 || taken <= before {
                match sender.ask(send.clone()).await == "done" {
                    true => (taken, refused) = (taken + MESSAGE, 0),
                    false => refused += 1,
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert!(taken < unsent + ELSEWHERE, "{taken} bytes of {unsent}");
        before = taken;
    }
}

#[tokio::test]
async fn r7_half_of_a_crowd_that_does_not_read_costs_the_others_nothing() {
    const HALF: usize = 1000;
    const OUTBOX: usize = 64 << 10;
    const ROUNDS: usize = 10;
    allow_many_files();
    for policy in POLICIES {
        // Those that are closed never say so, and are to be gone soon.
        let server = closing_within(200, policy, OUTBOX);
        let (mut sender, _) = member(&server).await;
        let (mut readers, mut others) = (Vec::new(), Vec::new());
        for _ in 0..HALF {
            let mut reader = connect(server.url("/drained")).await;
            reader
                .ask(json!({ "do": "subscribe", "room": "all" }))
                .await;
            readers.push(reader);
            let (mut deaf, id) = deaf(&server).await;
            deaf.send(frame(Opcode::Text, br#"{"do":"subscribe","room":"all"}"#))
                .await;
            deaf.frame().await;
            others.push((deaf, id));
        }
        let before = server.resident_bytes();

        // Messages of their own, which nobody shares, as many as there is room for.
        for _ in 0..if policy == "close" { 0 } else { 2 } {
            for (_, id) in &others {
                let flood = json!({ "do": "flood", "on": id, "message": { "bytes_of": 8000 }, "at_most": 20 });
                sender.ask(flood).await;
            }
        }
        // As many as are left in the end.
        let expected = match policy {
            "close" => HALF,
            _ => 2 * HALF,
        };
        let mut round = 0;
        loop {
            round += 1;
            assert!(round < 1000, "{policy}: the others are never closed");
            let text = format!("{round} {}", "x".repeat(8000));
            let to = json!({ "do": "to", "room": "all", "message": text });
            let addressed = sender.ask(to).await;
            for reader in &mut readers {
                assert_eq!(reader.recv_text().await, text, "{policy}");
            }
            if round >= ROUNDS && addressed == expected {
                break;
            }
        }

        let grown = server.resident_bytes().saturating_sub(before);
        let bound = HALF * OUTBOX + (32 << 20);
        assert!(
            grown < bound as u64,
            "{policy}: the process has grown by {grown} bytes"
        );
        let left = sender.ask(json!({ "do": "count", "room": "all" })).await;
        assert_eq!(left, expected, "{policy}");
    }
}
