//! A socket from its on-open to its on-close: rules C2, C3, C4 and C7.

use tulpar_tests::{
    Opcode, Raw, Server, connect, eventually, frame, json, next_event, observer, scripted,
};

#[tokio::test]
async fn c2_messages_of_one_socket_are_handled_in_the_order_received() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    // Handlers of different length, so that any that ran side by side would finish in another order.
    let rounds = 100;
    for round in 0..rounds {
        let slow = json!([{ "do": "busy", "ms": 2 }, { "do": "send", "message": format!("slow {round}") }]);
        client.feed(slow.to_string()).await;
        client.feed(format!("quick {round}")).await;
    }
    client.flush().await;
    for round in 0..rounds {
        assert_eq!(client.recv_text().await, format!("slow {round}"));
        assert_eq!(
            client.recv_json().await,
            json!({ "answer": ["done", "done"] })
        );
        assert_eq!(client.recv_text().await, format!("quick {round}"));
    }
}

#[tokio::test]
async fn c2_nothing_of_a_socket_runs_before_its_on_open_has_returned() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut observer = observer(&server, "/scripted").await;
    // The first message arrives in one packet with the handshake, while on-open is still busy.
    let values =
        json!({ "open": [{ "do": "busy", "ms": 100 }, { "do": "send", "message": "open" }] })
            .to_string();
    let mut headers = Raw::upgrade_headers();
    headers.push(("x-values", &values));
    let mut bytes = Raw::request("GET", "/scripted", &headers);
    let told = json!({ "do": "send", "message": "first", "tell": "observers" }).to_string();
    bytes.extend(frame(Opcode::Text, told.as_bytes()).bytes());
    bytes.extend(frame(Opcode::Close, &1000_u16.to_be_bytes()).bytes());
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&bytes).await;

    assert_eq!(raw.response().await.status, 101);
    assert_eq!(raw.frame().await.payload, b"open");
    assert_eq!(raw.frame().await.payload, b"first");
    assert_eq!(raw.frame().await.close().0, 1000);
    assert_eq!(observer.recv_json().await["event"], "open");
    assert_eq!(observer.recv_json().await["answer"], "done");
    assert_eq!(observer.recv_json().await["event"], "close");
}

#[tokio::test]
async fn c2_messages_before_a_close_frame_are_handled_before_on_close() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    next_event(&mut observer, "open").await;
    for number in 0..50 {
        let value = json!({ "number": number });
        let commands = json!({ "do": "set-data", "value": value });
        client.feed(commands.to_string()).await;
        client
            .feed(json!({ "do": "data", "tell": "observers" }).to_string())
            .await;
    }
    client.close(1000, "").await;
    for number in 0..50 {
        assert_eq!(
            observer.recv_json().await,
            json!({ "answer": { "number": number } })
        );
    }
    assert_eq!(observer.recv_json().await["event"], "close");
}

#[tokio::test]
async fn c3_on_close_runs_once_with_the_peers_code_and_reason() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let longest = "r".repeat(123);
    for (code, reason) in [
        (1000, "bye"),
        (1001, ""),
        (1008, "öäü"),
        (3000, "library"),
        (4999, &longest),
    ] {
        let mut client = connect(server.url("/commander")).await;
        client.close(code, reason).await;
        assert_eq!(
            client.expect_close().await.0,
            code,
            "the close is answered with its code"
        );
        let event = next_event(&mut observer, "close").await;
        assert_eq!(
            (&event["code"], &event["reason"]),
            (&json!(code), &json!(reason))
        );
        observer.expect_nothing().await;
    }
}

#[tokio::test]
async fn c3_a_close_without_a_code_is_1005() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    client.close_without_code().await;
    let event = next_event(&mut observer, "close").await;
    assert_eq!(
        (&event["code"], &event["reason"]),
        (&json!(1005), &json!(""))
    );
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c3_a_dropped_connection_is_1006() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut in_the_middle_of_a_frame = Raw::upgraded(server.address(), "/commander").await;
    in_the_middle_of_a_frame
        .send(frame(Opcode::Text, b"half").announcing(100))
        .await;
    let mut half_closed = Raw::upgraded(server.address(), "/commander").await;
    half_closed.finish().await;
    drop(in_the_middle_of_a_frame);
    drop(connect(server.url("/commander")).await);
    for _ in 0..3 {
        let event = next_event(&mut observer, "close").await;
        assert_eq!(
            (&event["code"], &event["reason"]),
            (&json!(1006), &json!(""))
        );
    }
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c3_a_socket_closed_by_its_handler_gets_the_handlers_code() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    let commands = json!([
        { "do": "send", "message": "last words" },
        { "do": "close", "code": 4001, "reason": "enough" },
        { "do": "close", "code": 4002, "reason": "closing twice is closing once" },
        { "do": "send", "message": "too late" },
    ]);
    client.send(commands.to_string()).await;
    assert_eq!(client.recv_text().await, "last words");
    assert_eq!(client.expect_close().await, (4001, "enough".to_owned()));
    let event = next_event(&mut observer, "close").await;
    assert_eq!(
        (&event["code"], &event["reason"]),
        (&json!(4001), &json!("enough"))
    );
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c3_a_socket_may_be_closed_in_on_open() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut observer = observer(&server, "/scripted").await;
    let script = json!([
        { "do": "send", "message": "not today" },
        { "do": "close", "code": 4003, "reason": "go away" },
    ]);
    let mut client = scripted(&server, json!({ "open": script })).await;
    assert_eq!(client.recv_text().await, "not today");
    assert_eq!(client.expect_close().await, (4003, "go away".to_owned()));
    assert_eq!(next_event(&mut observer, "close").await["code"], 4003);
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c3_a_socket_may_be_closed_by_anothers_handler() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    for (how, code) in [("close", 4004), ("terminate", 1006)] {
        let mut client = connect(server.url("/commander")).await;
        let id = client.ask(json!({ "do": "id" })).await;
        next_event(&mut observer, "open").await;
        let command = json!({ "do": how, "on": id, "code": code, "reason": "you too" });
        assert_eq!(observer.ask(command).await, "done");
        if how == "close" {
            assert_eq!(client.expect_close().await, (code, "you too".to_owned()));
        } else {
            client.expect_drop().await;
        }
        let event = next_event(&mut observer, "close").await;
        assert_eq!((&event["id"], &event["code"]), (&id, &json!(code)));
        observer.expect_nothing().await;
    }
}

#[tokio::test]
async fn c3_the_code_is_the_peers_also_in_answer_to_a_close_of_the_handlers() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let close = json!({ "do": "close", "code": 4001, "reason": "enough" }).to_string();
    for (answer, code) in [
        (&4001_u16.to_be_bytes()[..], 4001),
        (&4999_u16.to_be_bytes(), 4999),
        (b"", 1005),
    ] {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.send(frame(Opcode::Text, close.as_bytes())).await;
        assert_eq!(raw.close_frame().await, (4001, "enough".to_owned()));
        raw.send(frame(Opcode::Close, answer)).await;
        let event = next_event(&mut observer, "close").await;
        assert_eq!(
            (&event["code"], &event["reason"]),
            (&json!(code), &json!("")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn c3_a_terminated_socket_is_dropped_without_a_close_frame() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    client.send(json!({ "do": "terminate" }).to_string()).await;
    client.expect_drop().await;
    assert_eq!(next_event(&mut observer, "close").await["code"], 1006);
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c3_a_code_that_may_not_be_sent_becomes_1000_and_a_long_reason_is_cut() {
    let server = Server::with(&["commander"]).start();
    for (asked, sent) in [
        (0, 1000),
        (999, 1000),
        (1004, 1000),
        (1005, 1000),
        (1006, 1000),
        (1015, 1000),
        (1016, 1000),
    ]
    .into_iter()
    .chain([
        (2999, 1000),
        (5000, 1000),
        (1003, 1003),
        (1007, 1007),
        (1014, 1014),
        (3000, 3000),
        (4999, 4999),
    ]) {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        let command =
            json!({ "do": "close", "code": asked, "reason": "x".repeat(124) }).to_string();
        raw.send(frame(Opcode::Text, command.as_bytes())).await;
        assert_eq!(
            raw.close_frame().await,
            (sent, "x".repeat(123)),
            "asked for {asked}"
        );
    }
    // A cut within a character would make a close frame that the peer must refuse.
    let mut client = connect(server.url("/commander")).await;
    client
        .send(json!({ "do": "close", "code": 1000, "reason": "ö".repeat(62) }).to_string())
        .await;
    assert_eq!(client.expect_close().await.1, "ö".repeat(61));
}

#[tokio::test]
async fn c4_during_on_close_the_socket_is_gone_but_its_rooms_are_still_named() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    let id = client.ask(json!({ "do": "id" })).await;
    for room in ["red", "blue"] {
        client.ask(json!({ "do": "subscribe", "room": room })).await;
    }
    let script = json!([
        { "do": "rooms" },
        { "do": "is-subscribed", "room": "red" },
        { "do": "members", "room": "red" },
        { "do": "names" },
        { "do": "find", "id": id },
        { "do": "sockets" },
        { "do": "send", "message": "to myself" },
        { "do": "ping", "payload": "" },
        { "do": "subscribe", "room": "green" },
        { "do": "id" },
        { "do": "names" },
    ]);
    client
        .ask(json!({ "do": "set-data", "value": { "close": script } }))
        .await;
    client.close(1000, "").await;
    let event = next_event(&mut observer, "close").await;
    assert_eq!(event["rooms"], json!(["blue", "red"]));
    let closed = json!({ "error": "closed" });
    assert_eq!(
        event["answers"],
        json!([
            ["blue", "red"],
            false,
            [],
            ["observers"],
            false,
            1,
            closed,
            closed,
            closed,
            id,
            ["observers"]
        ])
    );
}

#[tokio::test]
async fn c4_what_on_close_sends_arrives_at_the_others() {
    let server = Server::with(&["commander"]).start();
    let mut friend = connect(server.url("/commander")).await;
    let mut stranger = connect(server.url("/commander")).await;
    let mut client = connect(server.url("/commander")).await;
    for member in [&mut friend, &mut client] {
        member
            .ask(json!({ "do": "subscribe", "room": "red" }))
            .await;
    }
    // A socket is in the namespace a moment after its handshake, and surely when it is answered.
    stranger.expect_nothing().await;
    let script = json!([
        { "do": "publish", "room": "red", "message": "published" },
        { "do": "to", "room": "red", "message": "to the room" },
        { "do": "broadcast", "message": "to all" },
    ]);
    client
        .ask(json!({ "do": "set-data", "value": { "close": script } }))
        .await;
    client.close(1000, "").await;
    client.expect_close().await;
    for text in ["published", "to the room", "to all"] {
        assert_eq!(friend.recv_text().await, text);
    }
    assert_eq!(stranger.recv_text().await, "to all");
    friend.expect_nothing().await;
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn c4_a_closed_socket_leaves_nothing_behind() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    client
        .ask(json!({ "do": "subscribe", "room": "red" }))
        .await;
    next_event(&mut observer, "open").await;
    assert_eq!(
        observer.ask(json!({ "do": "names" })).await,
        json!(["observers", "red"])
    );
    drop(client);
    next_event(&mut observer, "close").await;
    assert_eq!(
        observer.ask(json!({ "do": "names" })).await,
        json!(["observers"])
    );
    assert_eq!(
        observer.ask(json!({ "do": "count", "room": "red" })).await,
        0
    );
    assert_eq!(observer.ask(json!({ "do": "sockets" })).await, 1);
}

#[tokio::test]
async fn c7_ids_are_unguessable_and_unique() {
    let server = Server::with(&["commander"]).start();
    let mut ids = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = connect(server.url("/commander")).await;
        ids.push(
            client
                .ask(json!({ "do": "id" }))
                .await
                .as_str()
                .expect("a text")
                .to_owned(),
        );
        clients.push(client);
    }
    for (index, id) in ids.iter().enumerate() {
        assert!(id.len() >= 22, "128 bits need at least 22 characters: {id}");
        // What is counted up or taken from the clock differs in its last characters only.
        for other in &ids[index + 1..] {
            let different = id
                .chars()
                .zip(other.chars())
                .filter(|(a, b)| a != b)
                .count();
            assert!(different >= 10, "{id} and {other} are too much alike");
        }
    }
}

#[tokio::test]
async fn c7_a_private_message_reaches_the_socket_of_that_id_alone() {
    let server = Server::with(&["commander", "scripted", "attach"]).start();
    let mut sender = connect(server.url("/commander")).await;
    let mut receiver = connect(server.url("/commander")).await;
    let mut bystander = connect(server.url("/commander")).await;
    let mut elsewhere = connect(server.url("/scripted")).await;
    let id = receiver.ask(json!({ "do": "id" })).await;
    assert_eq!(
        sender
            .ask(json!({ "do": "send", "on": id, "message": "psst" }))
            .await,
        "done"
    );
    assert_eq!(receiver.recv_text().await, "psst");
    bystander.expect_nothing().await;

    let unknown = json!({ "error": "unknown" });
    let in_another_namespace = elsewhere.ask(json!({ "do": "id" })).await;
    receiver.close(1000, "").await;
    receiver.expect_close().await;
    for id in [json!("nobody"), json!(""), in_another_namespace] {
        assert_eq!(
            sender
                .ask(json!({ "do": "send", "on": id, "message": "psst" }))
                .await,
            unknown,
            "{id}"
        );
    }
    eventually("the closed socket to be unknown", async || {
        (sender.ask(json!({ "do": "find", "id": id })).await == false).then_some(())
    })
    .await;
    elsewhere.expect_nothing().await;
}
