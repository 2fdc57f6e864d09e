//! Every bound of the contract and of the configuration, at the bound and one past it.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Connect, Frame, Mould, Opcode, Raw, Server, Value, connect, eventually, expect_handler_error,
    frame, json, observer,
};

/// The most that a socket's values may have, in bytes of JSON.
const VALUES: usize = 64 << 10;

fn error(word: &str) -> Value {
    json!({ "error": word })
}

fn limits(setting: &str) -> Server {
    Server::with(&["commander"])
        .config(&format!("[limits]\n{setting}"))
        .start()
}

#[tokio::test]
async fn a_socket_joins_no_more_rooms_than_allowed() {
    let server = limits("rooms-per-socket = 3");
    let mut client = connect(server.url("/commander")).await;
    let mut other = connect(server.url("/commander")).await;
    for room in ["a", "b", "c"] {
        assert_eq!(
            client.ask(json!({ "do": "subscribe", "room": room })).await,
            "done"
        );
    }
    assert_eq!(
        client.ask(json!({ "do": "subscribe", "room": "d" })).await,
        error("limit-exceeded")
    );
    assert_eq!(
        client.ask(json!({ "do": "subscribe", "room": "a" })).await,
        "done",
        "it is in that room already"
    );
    assert_eq!(
        client.ask(json!({ "do": "rooms" })).await,
        json!(["a", "b", "c"])
    );
    assert_eq!(
        other.ask(json!({ "do": "subscribe", "room": "d" })).await,
        "done",
        "the bound is each socket's own"
    );
    client
        .ask(json!({ "do": "unsubscribe", "room": "b" }))
        .await;
    assert_eq!(
        client.ask(json!({ "do": "subscribe", "room": "d" })).await,
        "done"
    );
}

#[tokio::test]
async fn a_namespace_has_no_more_rooms_than_allowed() {
    let server = limits("rooms-per-namespace = 3");
    let mut client = connect(server.url("/commander")).await;
    let mut other = connect(server.url("/commander")).await;
    for room in ["a", "b"] {
        assert_eq!(
            client.ask(json!({ "do": "subscribe", "room": room })).await,
            "done"
        );
    }
    for room in ["b", "c"] {
        assert_eq!(
            other.ask(json!({ "do": "subscribe", "room": room })).await,
            "done"
        );
    }
    assert_eq!(
        other.ask(json!({ "do": "subscribe", "room": "d" })).await,
        error("limit-exceeded")
    );
    assert_eq!(
        client.ask(json!({ "do": "subscribe", "room": "c" })).await,
        "done",
        "that room exists already"
    );
    assert_eq!(
        other.ask(json!({ "do": "names" })).await,
        json!(["a", "b", "c"])
    );
    client
        .ask(json!({ "do": "unsubscribe", "room": "a" }))
        .await;
    assert_eq!(
        other.ask(json!({ "do": "subscribe", "room": "d" })).await,
        "done"
    );
}

#[tokio::test]
async fn rooms_per_socket_are_a_thousand_unless_set() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    let joins: Vec<_> = (0..1001)
        .map(|room| json!({ "do": "subscribe", "room": room.to_string() }))
        .collect();
    let answers = client.ask(joins.into()).await;
    let answers = answers.as_array().expect("one answer each");
    assert!(answers[..1000].iter().all(|answer| answer == "done"));
    assert_eq!(answers[1000], error("limit-exceeded"));
}

#[tokio::test]
async fn a_room_name_is_1_to_256_bytes_without_control_characters() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    let longest = "r".repeat(256);
    let longest_of_two_bytes = "ö".repeat(128);
    let good = [
        "r",
        " ",
        "user:1",
        "*",
        ">",
        ".",
        "../x",
        "%2f",
        "a/b",
        "😀",
        &longest,
        &longest_of_two_bytes,
    ];
    for room in good {
        assert_eq!(
            client.ask(json!({ "do": "subscribe", "room": room })).await,
            "done",
            "{room}"
        );
        assert_eq!(
            client.ask(json!({ "do": "count", "room": room })).await,
            1,
            "{room}"
        );
        client
            .send(json!({ "do": "to", "room": room, "message": "m" }).to_string())
            .await;
        assert_eq!(client.recv_text().await, "m", "{room}");
        assert_eq!(client.recv_json().await["answer"], 1, "{room}");
    }
    let too_long = "r".repeat(257);
    let too_long_of_two_bytes = "ö".repeat(129);
    for room in [
        "",
        "\0",
        "a\nb",
        "\t",
        "\u{1f}",
        "\u{7f}",
        &too_long,
        &too_long_of_two_bytes,
    ] {
        for command in [
            json!({ "do": "subscribe", "room": room }),
            json!({ "do": "publish", "room": room, "message": "m" }),
            json!({ "do": "to", "room": room, "message": "m" }),
        ] {
            assert_eq!(
                client.ask(command.clone()).await,
                error("invalid-argument"),
                "{command}"
            );
        }
        assert_eq!(
            client
                .ask(json!({ "do": "unsubscribe", "room": room }))
                .await,
            "done"
        );
        assert_eq!(
            client
                .ask(json!({ "do": "is-subscribed", "room": room }))
                .await,
            false
        );
        assert_eq!(
            client.ask(json!({ "do": "members", "room": room })).await,
            json!([])
        );
        assert_eq!(client.ask(json!({ "do": "count", "room": room })).await, 0);
    }
    assert_eq!(
        client
            .ask(json!({ "do": "rooms" }))
            .await
            .as_array()
            .map(Vec::len),
        Some(good.len())
    );
}

#[tokio::test]
async fn a_handler_sends_no_larger_message_than_allowed() {
    let server = limits("max-message-bytes = 1000");
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "subscribe", "room": "a" })).await;
    for send in ["send", "publish", "to", "broadcast"] {
        for kind in ["text_of", "bytes_of"] {
            let accepted = json!({ "do": send, "room": "a", "message": { kind: 1000 } });
            client.send(accepted.to_string()).await;
            if send != "publish" {
                assert_eq!(
                    client.recv().await.map(|message| message.len()),
                    Some(1000),
                    "{accepted}"
                );
            }
            let answer = client.recv_json().await;
            assert!(answer["answer"]["error"].is_null(), "{accepted}: {answer}");
            let refused = json!({ "do": send, "room": "a", "message": { kind: 1001 } });
            assert_eq!(
                client.ask(refused.clone()).await,
                error("too-large"),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn values_have_64_kib_at_most() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    // The quotes belong to the JSON text.
    let largest = "v".repeat(VALUES - 2);
    assert_eq!(
        client
            .ask(json!({ "do": "set-data", "value": largest }))
            .await,
        "done"
    );
    let too_large = "w".repeat(VALUES - 1);
    assert_eq!(
        client
            .ask(json!({ "do": "set-data", "value": too_large }))
            .await,
        error("too-large")
    );
    assert_eq!(
        client.ask(json!({ "do": "data" })).await,
        largest,
        "the values before the refusal stay"
    );
}

#[tokio::test]
async fn values_are_json() {
    let moulded = Mould::namespace("/moulded").bytes();
    let server = Server::with(&[]).file("moulded.wasm", &moulded).start();
    let mut client = connect(server.url("/moulded")).await;
    client.send("read:").await;
    assert_eq!(client.recv_text().await, "none");
    for text in [
        "",
        "{",
        "1 2",
        "NaN",
        "{'a':1}",
        "{\"a\":1,}",
        "\"\n\"",
        "nul",
    ] {
        client.send(format!("values:{text}")).await;
        assert!(
            client.recv_text().await.contains("invalid-argument"),
            "{text}"
        );
    }
    for text in ["null", "1", " [1] ", "{\"a\":{}}", "\"\\u0000\""] {
        client.send(format!("values:{text}")).await;
        assert_eq!(client.recv_text().await, "Ok(())", "{text}");
        client.send("read:").await;
        assert_eq!(client.recv_text().await, text);
    }
}

#[tokio::test]
async fn a_ping_has_125_bytes_at_most() {
    let server = Server::with(&["commander"]).start();
    let mut raw = Raw::upgraded(server.address(), "/commander").await;
    for (length, answer) in [(0, "done"), (125, "done"), (126, "invalid-argument")] {
        let command = json!({ "do": "ping", "payload": { "text_of": length } }).to_string();
        raw.send(frame(Opcode::Text, command.as_bytes())).await;
        if answer == "done" {
            assert_eq!(
                raw.frame().await,
                Frame::whole(Opcode::Ping, &vec![b'x'; length])
            );
        }
        let answered = String::from_utf8(raw.frame().await.payload).expect("it is JSON");
        assert!(answered.contains(answer), "{length}: {answered}");
    }
}

#[tokio::test]
async fn a_handler_holds_no_more_handles_than_allowed() {
    let server = limits("handles = 8");
    let mut client = connect(server.url("/commander")).await;
    let mut other = connect(server.url("/commander")).await;
    let id = client.ask(json!({ "do": "id" })).await;
    let hold = |up_to: usize| json!({ "do": "hold", "id": id, "up_to": up_to });
    assert_eq!(client.ask(hold(8)).await, 8);
    client.ask(json!({ "do": "let-go" })).await;
    assert_eq!(
        client.ask(hold(8)).await,
        8,
        "what is let go is given again"
    );
    // `get` has no error to return: one more is a trap, and costs the instance with all that it held.
    other.send(hold(9).to_string()).await;
    expect_handler_error(&mut other).await;
    assert_eq!(client.ask(hold(8)).await, 8);
}

#[tokio::test]
async fn an_instance_has_no_more_memory_than_allowed() {
    const MEMORY: usize = 16 << 20;
    const PAGE: usize = 64 << 10;
    let server = limits(&format!("instance-memory-bytes = {MEMORY}"));
    let mut client = connect(server.url("/commander")).await;
    assert_eq!(
        client
            .ask(json!({ "do": "grow-to", "bytes": MEMORY + PAGE }))
            .await,
        false
    );
    assert_eq!(
        client
            .ask(json!({ "do": "grow-to", "bytes": MEMORY }))
            .await,
        true
    );
    assert_eq!(
        client
            .ask(json!({ "do": "grow-to", "bytes": MEMORY + PAGE }))
            .await,
        false
    );
}

#[tokio::test]
async fn there_are_no_more_instances_than_allowed() {
    let builder = Server::with(&["commander", "echo", "room"]);
    let server = builder.config("[limits]\ninstances = 2").start();
    let mut first = connect(server.url("/commander")).await;
    first.expect_nothing().await;
    let mut second = connect(server.url("/echo")).await;
    second.send("two fit").await;
    assert_eq!(second.recv_text().await, "two fit");
    let mut third = connect(server.url("/room")).await;
    expect_handler_error(&mut third).await;
    first.expect_nothing().await;
    second.send("still").await;
    assert_eq!(second.recv_text().await, "still");
}

#[tokio::test]
async fn a_handler_has_as_much_time_as_allowed() {
    let server = limits("deadline-ms = 400");
    let mut client = connect(server.url("/commander")).await;
    assert_eq!(client.ask(json!({ "do": "busy", "ms": 100 })).await, "done");
    // The time is each call's own.
    for _ in 0..4 {
        assert_eq!(client.ask(json!({ "do": "busy", "ms": 150 })).await, "done");
    }
    let begun = Instant::now();
    client.send(json!({ "do": "loop" }).to_string()).await;
    expect_handler_error(&mut client).await;
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(400), "{taken:?}");
    server.log_line(&["on-message", "longer than 400 ms (limits.deadline-ms)"]);
}

#[tokio::test]
async fn the_deadline_is_50_ms_unless_set() {
    // Tests that do not speak of it are given more.
    let server = Server::with(&["commander"])
        .config("# deadline-ms is left alone")
        .start();
    let mut client = connect(server.url("/commander")).await;
    client.send(json!({ "do": "loop" }).to_string()).await;
    expect_handler_error(&mut client).await;
    server.log_line(&["on-message", "longer than 50 ms (limits.deadline-ms)"]);
}

#[tokio::test]
async fn a_handshake_has_as_much_time_as_allowed() {
    let server = Server::with(&["commander"])
        .config("[timeouts]\nhandshake-ms = 200")
        .start();
    // It may itself be held back for longer than that.
    let mut open = eventually("a socket", async || {
        Connect::to(server.url("/commander")).if_it_listens().await
    })
    .await;
    let begun = Instant::now();
    let mut silent = Raw::connect(server.address()).await;
    let mut slow = Raw::connect(server.address()).await;
    slow.write(b"GET /commander HTTP/1.1\r\nHost: localhost\r\n")
        .await;
    for raw in [&mut silent, &mut slow] {
        let said = String::from_utf8(raw.rest().await).expect("it is HTTP");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // What is open already is not concerned, though it has said nothing for longer.
    open.expect_nothing().await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_a_close_is_dropped_in_time() {
    let server = Server::with(&["commander"])
        .config("[timeouts]\nclose-ms = 300")
        .start();
    let mut observer = observer(&server, "/commander").await;
    // Well before the time unless set, if not at once: a test may be held back for as long, but not again and again.
    eventually("a peer to be dropped soon", async || {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        let begun = Instant::now();
        let close = br#"{"do":"close","code":4000,"reason":""}"#;
        raw.send(frame(Opcode::Text, close)).await;
        assert_eq!(raw.frame().await.close().0, 4000);
        assert_eq!(raw.rest().await, b"");
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_millis(300), "{taken:?}");
        assert_eq!(observer.recv_json().await["event"], "open");
        assert_eq!(observer.recv_json().await["event"], "close");
        (taken < Duration::from_secs(4)).then_some(())
    })
    .await;
    observer.expect_nothing().await;
}

#[tokio::test]
async fn a_log_message_over_8_kib_is_cut() {
    const LONGEST: usize = 8 << 10;
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    let whole = format!("whole{}E", "x".repeat(LONGEST - 6));
    let cut = format!("cut{}E", "x".repeat(LONGEST - 3));
    for text in [&whole, &cut] {
        client
            .ask(json!({ "do": "log", "level": "info", "text": text }))
            .await;
    }
    server.log_line(&[&whole]);
    let line = server.log_line(&[&cut[..LONGEST]]);
    assert!(
        !line.contains(&cut),
        "one byte over the bound, and still whole"
    );
}
