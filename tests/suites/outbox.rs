//! What waits to be written to a peer is bounded, and nobody else waits for it: rule R7.

use std::time::Duration;

use tulpar_tests::{
    Frame, Message, Opcode, Raw, Server, Value, connect, eventually, frame, json, next_event,
    observer,
};

/// What a peer that reads too slowly is closed with.
const SLOW_CONSUMER: (u16, &str) = (1008, "Slow consumer");

fn limits(setting: &str) -> Server {
    Server::with(&["commander"])
        .config(&format!("[limits]\n{setting}"))
        .start()
}

/// The same where a peer that is closed has more time to take what has left than a test has.
fn patient(outbox: u64) -> Server {
    limits(&format!(
        "outbox-bytes = {outbox}\n[timeouts]\nclose-ms = 60000"
    ))
}

#[tokio::test]
async fn r7_the_queue_to_a_peer_takes_as_much_as_allowed() {
    const OUTBOX: usize = 10_000;
    let answer = r#"{"answer":"done"}"#;
    // What is asked for has a header of four bytes, the answer behind it one of two.
    let exact = OUTBOX - 4 - answer.len() - 2;
    let server = limits(&format!("outbox-bytes = {OUTBOX}"));
    let ask = async |bytes: usize| {
        let mut client = connect(server.url("/commander")).await;
        let command = json!({ "do": "send", "message": { "bytes_of": bytes } });
        client.send(command.to_string()).await;
        client
    };

    let mut client = ask(exact).await;
    assert_eq!(client.recv_bytes().await.len(), exact);
    assert_eq!(client.recv_text().await, answer);

    // Rarely, a handler hands the thread back between the two, and the first leaves before the second comes.
    eventually("one byte more to be refused", async || {
        let mut client = ask(exact + 1).await;
        match client.recv().await {
            Some(Message::Binary(_)) => None,
            Some(Message::Close(Some(close))) => {
                assert_eq!((close.code.into(), close.reason.as_str()), SLOW_CONSUMER);
                Some(())
            }
            other => panic!("waited for a close frame, but got {other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn r7_a_message_larger_than_the_queue_passes_when_nothing_waits() {
    const OUTBOX: usize = 10_000;
    let server = limits(&format!("outbox-bytes = {OUTBOX}"));
    let mut client = connect(server.url("/commander")).await;
    let large = "x".repeat(10 * OUTBOX);
    for _ in 0..3 {
        client.send(large.as_str()).await;
        assert_eq!(client.recv_text().await, large);
    }
}

#[tokio::test]
async fn r7_a_peer_that_does_not_read_is_closed_when_its_queue_is_full() {
    const OUTBOX: u64 = 64 << 10;
    let server = patient(OUTBOX);
    let mut observer = observer(&server, "/commander").await;
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    next_event(&mut observer, "open").await;
    let flood = json!({
        "do": "flood",
        "message": { "bytes_of": 1000 },
        "at_most": 1_000_000,
        "tell": "observers",
    });
    deaf.send(frame(Opcode::Text, flood.to_string().as_bytes()))
        .await;
    let mut answer = observer.recv_json().await["answer"].take();
    assert_eq!(answer["error"].take(), "backpressure");
    let accepted = answer["accepted"].as_u64().expect("a number");
    assert!(accepted >= OUTBOX / 1004, "{answer}");
    assert!(
        answer["buffered"]
            .as_u64()
            .is_some_and(|buffered| buffered <= OUTBOX),
        "{answer}"
    );

    // Once it reads, it finds what had left, whole and in order, and then why nothing follows.
    let mut found = 0;
    let close = loop {
        let next = deaf.frame().await;
        if next.first != Frame::whole(Opcode::Binary, &[]).first {
            break next.close();
        }
        assert!(next.payload == [7; 1000]);
        found += 1;
    };
    assert!(found <= accepted, "{found} of {accepted}");
    assert_eq!((close.0, close.1.as_str()), SLOW_CONSUMER);
    deaf.send(frame(Opcode::Close, &close.0.to_be_bytes()))
        .await;
    assert_eq!(next_event(&mut observer, "close").await["code"], 1008);
}

#[tokio::test]
async fn r7_a_member_that_does_not_read_delays_nobody() {
    const OUTBOX: usize = 64 << 10;
    let config = format!("[limits]\noutbox-bytes = {OUTBOX}\n[timeouts]\nclose-ms = 200");
    let server = Server::with(&["commander"]).config(&config).start();
    let mut sender = connect(server.url("/commander")).await;
    let mut member = connect(server.url("/commander")).await;
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    let join = json!({ "do": "subscribe", "room": "red" });
    member.ask(join.clone()).await;
    deaf.send(frame(Opcode::Text, join.to_string().as_bytes()))
        .await;
    deaf.frame().await;

    let publish = json!({ "do": "publish", "room": "red", "message": { "bytes_of": OUTBOX / 4 } });
    assert_eq!(sender.ask(publish.clone()).await, 2);
    assert_eq!(member.recv_bytes().await.len(), OUTBOX / 4);
    // The operating system takes some for the deaf one; then it is closed, and the other gets each message all along.
    let mut published = 1;
    while sender.ask(publish.clone()).await == 2 {
        assert_eq!(member.recv_bytes().await.len(), OUTBOX / 4);
        published += 1;
        assert!(published < 20_000, "the deaf member is never closed");
    }
    assert_eq!(member.recv_bytes().await.len(), OUTBOX / 4);
    member.expect_nothing().await;
}

#[tokio::test]
async fn r7_a_slow_peer_gets_whole_frames_and_then_the_close_frame() {
    // No multiple of anything, so that the operating system takes the last one in part.
    const BYTES: usize = 9_973;
    let server = patient(64 << 10);
    let mut sender = connect(server.url("/commander")).await;
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    deaf.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&deaf.frame().await.payload).expect("it is JSON");
    // One message each, so that each is written, as far as that goes, before the next comes.
    let send = json!({ "do": "send", "on": answer["answer"], "message": { "bytes_of": BYTES } });
    let mut sent = 0;
    while sender.ask(send.clone()).await == "done" {
        sent += 1;
        assert!(sent < 20_000, "the deaf peer is never closed");
    }
    let mut found = 0;
    let close = loop {
        let next = deaf.frame().await;
        if next.first != Frame::whole(Opcode::Binary, &[]).first {
            break next.close();
        }
        assert!(next.payload == [7; BYTES]);
        found += 1;
    };
    assert!((1..=sent).contains(&found), "{found} of {sent}");
    assert_eq!((close.0, close.1.as_str()), SLOW_CONSUMER);
}

#[tokio::test]
async fn r7_only_the_peer_whose_answers_wait_is_held_back() {
    let server = limits("outbox-bytes = 65536");
    let mut other = connect(server.url("/commander")).await;
    let mut deaf = Raw::narrow(server.address(), "/commander").await;
    let message = frame(Opcode::Binary, &[1; 8000]).bytes();
    // Each comes back, and at some point no more is taken.
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), deaf.write(&message))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 10_000, "the server takes whatever comes");
        other.send("anybody?").await;
        assert_eq!(other.recv_text().await, "anybody?");
    }
    other.send("still?").await;
    assert_eq!(other.recv_text().await, "still?");
    // It was not closed for it, and is read again when it reads.
    for _ in 0..sent {
        assert!(deaf.frame().await.payload == [1; 8000]);
    }
}
