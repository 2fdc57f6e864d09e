//! From the handshake to the last call of on-close: rules C1 to C7 and C11.

use tulpar_tests::{
    Connect, Mould, Opcode, Raw, Response, Server, connect, eventually, frame, get,
};
use tulpar_tests::{expect_handler_error, json, next_event, observer, scripted};

const NOT_FOUND: &str = r#"{"error":"Not Found"}"#;

/// The response to an upgrade of `/commander` whose headers are well-formed but for one, which is replaced or,
/// with none, left out.
async fn upgrade_with(server: &Server, name: &str, value: Option<&str>) -> Response {
    let mut headers = Raw::upgrade_headers();
    headers.retain(|(key, _)| *key != name);
    headers.extend(value.map(|value| (name, value)));
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request("GET", "/commander", &headers))
        .await;
    raw.response().await
}

#[tokio::test]
async fn c1_an_upgrade_is_answered_with_101_and_the_proof_of_the_key() {
    let server = Server::with(&["commander"]).start();
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::upgrade_request("/commander?token=a%20b"))
        .await;
    let response = raw.response().await;
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(
        response
            .header("upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
    assert!(
        response
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    raw.send(frame(Opcode::Text, b"hello")).await;
    assert_eq!(raw.frame().await.payload, b"hello");
}

#[tokio::test]
async fn c1_an_unknown_path_is_a_404_in_json() {
    let server = Server::with(&["commander"]).start();
    let upgrade = Connect::to(server.url("/nowhere")).refused().await;
    for response in [
        get(server.address(), "/nowhere").await,
        get(server.address(), "/").await,
        upgrade,
    ] {
        assert_eq!((response.status, response.text()), (404, NOT_FOUND));
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn c1_a_plain_get_is_told_to_upgrade() {
    let server = Server::with(&["commander"]).start();
    let response = get(server.address(), "/commander").await;
    assert_eq!(response.status, 426);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    for other in [None, Some("h2c")] {
        assert_eq!(
            upgrade_with(&server, "Upgrade", other).await.status,
            426,
            "Upgrade: {other:?}"
        );
    }
}

#[tokio::test]
async fn c1_another_method_is_a_404() {
    let server = Server::with(&["commander"]).start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for headers in [Vec::new(), Raw::upgrade_headers()] {
            let mut raw = Raw::connect(server.address()).await;
            raw.write(&Raw::request(method, "/commander", &headers))
                .await;
            let response = raw.response().await;
            assert_eq!(
                (response.status, response.text()),
                (404, NOT_FOUND),
                "{method} {headers:?}"
            );
        }
    }
}

#[tokio::test]
async fn c1_another_version_is_told_which_one_is_spoken() {
    let server = Server::with(&["commander"]).start();
    for version in [Some("8"), Some("12"), Some("14"), Some("thirteen"), None] {
        let response = upgrade_with(&server, "Sec-WebSocket-Version", version).await;
        assert_eq!(response.status, 426, "{version:?}");
        assert_eq!(
            response.header("sec-websocket-version"),
            Some("13"),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn c1_a_missing_or_malformed_key_is_a_400() {
    let server = Server::with(&["commander"]).start();
    let fifteen_bytes = "AAAAAAAAAAAAAAAAAAAA";
    let seventeen_bytes = "AAAAAAAAAAAAAAAAAAAAAAA=";
    let not_base64 = "dGhlIHNhbXBsZSBub25j!!==";
    for key in [
        None,
        Some(""),
        Some("short"),
        Some(fifteen_bytes),
        Some(seventeen_bytes),
        Some(not_base64),
    ] {
        assert_eq!(
            upgrade_with(&server, "Sec-WebSocket-Key", key).await.status,
            400,
            "{key:?}"
        );
    }
}

#[tokio::test]
async fn c1_a_connection_header_without_upgrade_is_a_400() {
    let server = Server::with(&["commander"]).start();
    for value in [
        None,
        Some("keep-alive"),
        Some("close"),
        Some("upgraded"),
        Some("x-upgrade"),
    ] {
        assert_eq!(
            upgrade_with(&server, "Connection", value).await.status,
            400,
            "{value:?}"
        );
    }
    for value in [
        "Upgrade",
        "upgrade",
        "keep-alive, Upgrade",
        "UPGRADE,keep-alive",
    ] {
        assert_eq!(
            upgrade_with(&server, "Connection", Some(value))
                .await
                .status,
            101,
            "{value}"
        );
    }
    assert_eq!(
        upgrade_with(&server, "Upgrade", Some("WebSocket"))
            .await
            .status,
        101
    );
}

#[tokio::test]
async fn c1_a_refused_handshake_opens_no_socket() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    assert_eq!(
        upgrade_with(&server, "Sec-WebSocket-Key", None)
            .await
            .status,
        400
    );
    assert_eq!(
        upgrade_with(&server, "Sec-WebSocket-Version", None)
            .await
            .status,
        426
    );
    assert_eq!(observer.ask(json!({ "do": "sockets" })).await, 1);
}

#[tokio::test]
async fn c1_paths_match_exactly_and_case_sensitively() {
    let server = Server::with(&["commander"]).start();
    for path in [
        "/Commander",
        "/commander/",
        "//commander",
        "/commander/x",
        "/x/../commander",
        "/%63ommander",
    ] {
        assert_eq!(
            Connect::to(server.url(path)).refused().await.status,
            404,
            "{path}"
        );
    }
    for path in ["/commander", "/commander?", "/commander?a=b&c"] {
        assert_eq!(
            connect(server.url(path)).await.response.status,
            101,
            "{path}"
        );
    }
}

#[tokio::test]
async fn c1_no_compression_is_agreed_on() {
    let server = Server::with(&["commander"]).start();
    let offer = "permessage-deflate; client_max_window_bits";
    let request = Connect::to(server.url("/commander")).header("Sec-WebSocket-Extensions", offer);
    assert_eq!(
        request
            .open()
            .await
            .response
            .header("sec-websocket-extensions"),
        None
    );
}

#[tokio::test]
async fn c1_a_connection_may_ask_again_after_a_refusal() {
    let server = Server::with(&["commander"]).start();
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request("GET", "/nowhere", &[])).await;
    assert_eq!(raw.response().await.status, 404);
    raw.write(&Raw::upgrade_request("/commander")).await;
    assert_eq!(raw.response().await.status, 101);
    raw.send(frame(Opcode::Text, b"at last")).await;
    assert_eq!(raw.frame().await.payload, b"at last");
}

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
async fn c3_the_code_is_that_of_whoever_began() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let close = json!({ "do": "close", "code": 4001, "reason": "enough" }).to_string();
    for answer in [&4999_u16.to_be_bytes()[..], b""] {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.send(frame(Opcode::Text, close.as_bytes())).await;
        assert_eq!(raw.close_frame().await, (4001, "enough".to_owned()));
        raw.send(frame(Opcode::Close, answer)).await;
        let event = next_event(&mut observer, "close").await;
        assert_eq!(
            (&event["code"], &event["reason"]),
            (&json!(4001), &json!("enough")),
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
async fn c5_an_error_in_on_message_is_told_and_closes_with_1011() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    client
        .send(json!({ "do": "fail", "text": "the cellar is flooded" }).to_string())
        .await;
    expect_handler_error(&mut client).await;
    let event = next_event(&mut observer, "close").await;
    assert_eq!(
        (&event["code"], &event["reason"]),
        (&json!(1011), &json!("Handler error"))
    );
    observer.expect_nothing().await;
    server.log_line(&["the cellar is flooded"]);
}

#[tokio::test]
async fn c5_an_error_in_on_open_is_told_and_closes_with_1011() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut observer = observer(&server, "/scripted").await;
    let script = json!({ "open": [{ "do": "send", "message": "before" }, { "do": "fail", "text": "the attic burns" }] });
    let mut client = scripted(&server, script).await;
    assert_eq!(client.recv_text().await, "before");
    expect_handler_error(&mut client).await;
    assert_eq!(next_event(&mut observer, "close").await["code"], 1011);
    observer.expect_nothing().await;
    server.log_line(&["the attic burns"]);
}

#[tokio::test]
async fn c5_an_error_in_on_close_goes_to_the_log_only() {
    let server = Server::with(&["commander"]).start();
    let mut neighbour = connect(server.url("/commander")).await;
    let before = neighbour
        .ask(json!({ "do": "seen" }))
        .await
        .as_u64()
        .expect("a number");
    let mut client = connect(server.url("/commander")).await;
    let script = json!({ "close": [{ "do": "fail", "text": "the lock is broken" }] });
    client
        .ask(json!({ "do": "set-data", "value": script }))
        .await;
    client.close(1000, "bye").await;
    assert_eq!(client.expect_close().await.0, 1000);
    server.log_line(&["the lock is broken"]);
    // On-open, set-data and on-close of the client, and this question: the instance is still the same one.
    assert_eq!(neighbour.ask(json!({ "do": "seen" })).await, before + 4);
}

#[tokio::test]
async fn c6_a_failure_in_on_message_costs_one_peer_and_the_instance() {
    for failure in [
        json!({ "do": "panic", "text": "oh no" }),
        json!({ "do": "loop" }),
        json!({ "do": "bomb" }),
        json!({ "do": "recurse" }),
    ] {
        let server = Server::with(&["commander"])
            .config("[limits]\ndeadline-ms = 500")
            .start();
        let mut neighbour = observer(&server, "/commander").await;
        neighbour
            .ask(json!({ "do": "subscribe", "room": "red" }))
            .await;
        neighbour
            .ask(json!({ "do": "set-data", "value": { "kept": true } }))
            .await;
        let mut client = connect(server.url("/commander")).await;
        next_event(&mut neighbour, "open").await;

        client.send(failure.to_string()).await;
        expect_handler_error(&mut client).await;
        let event = next_event(&mut neighbour, "close").await;
        assert_eq!(event["code"], 1011, "{failure}");

        // The close was the new instance's first call, so this is its second.
        assert_eq!(neighbour.ask(json!({ "do": "seen" })).await, 2, "{failure}");
        assert_eq!(
            neighbour.ask(json!({ "do": "data" })).await,
            json!({ "kept": true }),
            "{failure}"
        );
        assert_eq!(
            neighbour.ask(json!({ "do": "rooms" })).await,
            json!(["observers", "red"]),
            "{failure}"
        );
        let mut late = connect(server.url("/commander")).await;
        next_event(&mut neighbour, "open").await;
        late.ask(json!({ "do": "to", "room": "red", "message": "still here" }))
            .await;
        assert_eq!(neighbour.recv_text().await, "still here", "{failure}");
    }
}

#[tokio::test]
async fn c6_a_trap_in_on_open_costs_that_peer() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut neighbour = observer(&server, "/scripted").await;
    let mut client = scripted(
        &server,
        json!({ "open": [{ "do": "panic", "text": "oh no" }] }),
    )
    .await;
    expect_handler_error(&mut client).await;
    assert_eq!(next_event(&mut neighbour, "close").await["code"], 1011);
    neighbour.expect_nothing().await;
}

#[tokio::test]
async fn c6_a_trap_in_on_close_costs_nobody() {
    let server = Server::with(&["commander"]).start();
    let mut neighbour = connect(server.url("/commander")).await;
    let mut client = connect(server.url("/commander")).await;
    let script = json!({ "close": [{ "do": "panic", "text": "oh no" }] });
    client
        .ask(json!({ "do": "set-data", "value": script }))
        .await;
    client.close(1000, "").await;
    client.expect_close().await;
    // A new instance counts from the start.
    eventually("a new instance", async || {
        let seen = neighbour.ask(json!({ "do": "seen" })).await;
        (seen == 1).then_some(())
    })
    .await;
    assert_eq!(neighbour.ask(json!({ "do": "sockets" })).await, 1);
}

#[tokio::test]
async fn c6_messages_in_hand_of_the_failed_peer_are_not_handled() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let mut client = connect(server.url("/commander")).await;
    next_event(&mut observer, "open").await;
    client
        .feed(json!({ "do": "panic", "text": "oh no" }).to_string())
        .await;
    client
        .feed(json!({ "do": "broadcast", "message": "after the fall" }).to_string())
        .await;
    client.flush().await;
    expect_handler_error(&mut client).await;
    assert_eq!(observer.recv_json().await["event"], "close");
    observer.expect_nothing().await;
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

#[tokio::test]
async fn c11_the_first_offered_subprotocol_that_is_listed_is_chosen() {
    let listing = Mould::namespace("/listing").set("protocols", json!(["v2", "v1"]));
    let server = Server::with(&["commander"])
        .file("listing.wasm", &listing.bytes())
        .start();
    for (path, offers, chosen) in [
        ("/listing", vec!["v1, v2"], Some("v1")),
        ("/listing", vec!["v2, v1"], Some("v2")),
        ("/listing", vec!["v3, v2"], Some("v2")),
        ("/listing", vec!["v3", "v1"], Some("v1")),
        ("/listing", vec!["V1", "v3"], None),
        ("/listing", vec![], None),
        ("/commander", vec!["soap, wamp"], Some("soap")),
        ("/commander", vec![], None),
    ] {
        let mut headers = Raw::upgrade_headers();
        headers.extend(
            offers
                .iter()
                .map(|offer| ("Sec-WebSocket-Protocol", *offer)),
        );
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Raw::request("GET", path, &headers)).await;
        let response = raw.response().await;
        assert_eq!(response.status, 101);
        assert_eq!(
            response.header("sec-websocket-protocol"),
            chosen,
            "{path} {offers:?}"
        );
    }
}
