//! Middlewares: rules M1 to M4.

use tulpar_tests::{
    Client, Connect, Mould, Raw, Server, Value, connect, expect_failed, gated, get, json, observer,
    outcomes, through,
};

async fn values(client: &mut Client) -> String {
    client.send("read:").await;
    client.recv_text().await
}

#[tokio::test]
async fn m1_middlewares_run_in_the_order_given_over_one_context() {
    let server = gated();
    let first = json!([
        { "do": "get", "key": "note" },
        { "do": "set", "key": "note", "json": "{\"from\":\"first\"}" },
        { "do": "read-value" },
        { "do": "value", "json": "[1]" },
        { "do": "header", "name": "x-shared", "value": "1" },
    ]);
    let second = json!([
        { "do": "get", "key": "note" },
        { "do": "get", "key": "Note" },
        { "do": "read-value" },
        { "do": "header", "name": "X-Shared", "value": "2" },
    ]);
    let mut client = through(&server, first, second).open().await;
    assert_eq!(
        outcomes(&client.response, "first"),
        json!([null, "done", null, "done", "done"])
    );
    assert_eq!(
        outcomes(&client.response, "second"),
        json!(["{\"from\":\"first\"}", null, "[1]", "done"])
    );
    let shared = client
        .response
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-shared"));
    let shared: Vec<_> = shared.map(|(_, value)| value.as_str()).collect();
    assert_eq!(shared, ["1", "2"]);
    assert_eq!(values(&mut client).await, "[1]");
}

#[tokio::test]
async fn m1_the_context_of_one_request_is_not_seen_by_another() {
    let server = gated();
    let leave =
        json!([{ "do": "set", "key": "note", "json": "1" }, { "do": "value", "json": "1" }]);
    let _first = through(&server, leave.clone(), leave).open().await;
    let look = json!([{ "do": "get", "key": "note" }, { "do": "read-value" }]);
    let mut second = through(&server, look.clone(), look).open().await;
    assert_eq!(outcomes(&second.response, "first"), json!([null, null]));
    assert_eq!(outcomes(&second.response, "second"), json!([null, null]));
    assert_eq!(values(&mut second).await, "none");
}

#[tokio::test]
async fn m1_the_order_is_the_namespaces_not_the_files() {
    let respond =
        |body: &str| json!([{ "do": "respond", "status": 200, "headers": [], "body": body }]);
    for (order, answer) in [
        (json!(["second", "first"]), "of second"),
        (json!(["first", "second"]), "of first"),
    ] {
        let server = Server::with(&[])
            .file("first.wasm", &Mould::middleware("first").bytes())
            .file("second.wasm", &Mould::middleware("second").bytes())
            .file(
                "gated.wasm",
                &Mould::namespace("/gated").set("middlewares", order).bytes(),
            )
            .start();
        let response = through(&server, respond("of first"), respond("of second"))
            .refused()
            .await;
        assert_eq!(response.text(), answer);
    }
}

#[tokio::test]
async fn m1_the_context_says_all_of_the_request() {
    let server = gated();
    let queries = ["a", "b", "A", "empty", "flag", "none", "ü", "plus", "bad"];
    let describe = json!([{ "do": "describe", "queries": queries, "headers": ["X-ONE", "x-none", "x-bytes"] }]);
    let describe = describe.to_string();
    let uri = "/gated?a=1&a=2&b=x%20y%26z&empty=&flag&%C3%BC=%C3%B6&plus=1+1&bad=%ff";
    let mut headers = Raw::upgrade_headers();
    headers.extend([
        ("x-first", describe.as_str()),
        ("X-One", "1"),
        ("x-one", "2"),
    ]);
    let mut request = Raw::request("GET", uri, &headers);
    let end = request.len() - 2;
    request.splice(end..end, *b"x-bytes: caf\xe9\r\n");
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&request).await;
    let response = raw.response().await;
    let seen: Value = serde_json::from_str(response.text()).expect("it is JSON");
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/gated");
    assert_eq!(seen["uri"], uri);
    assert_eq!(seen["remote-address"], "127.0.0.1");
    assert_eq!(
        seen["queries"],
        json!(["1", "x y&z", null, "", "", null, "ö", "1 1", "\u{fffd}"])
    );
    assert_eq!(seen["header"], json!(["1", null, "caf\u{fffd}"]));
    let names: Vec<_> = seen["headers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|header| &header[0])
        .collect();
    let expected = [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-version",
        "sec-websocket-key",
    ];
    assert_eq!(
        names,
        [&expected[..], &["x-first", "x-one", "x-one", "x-bytes"]].concat()
    );
    assert_eq!(seen["headers"][7], json!(["x-one", "2"]));
}

#[tokio::test]
async fn m2_a_response_is_sent_and_nothing_behind_it_runs() {
    let server = gated();
    let respond = json!([
        { "do": "header", "name": "x-added", "value": "by the context" },
        {
            "do": "respond",
            "status": 302,
            "headers": [["Location", "/login"], ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]],
            "body": "over there",
        },
    ]);
    let second = json!([{ "do": "read-value" }]);
    let response = through(&server, respond.clone(), second).refused().await;
    assert_eq!((response.status, response.text()), (302, "over there"));
    assert_eq!(response.header("location"), Some("/login"));
    assert_eq!(response.header("x-added"), Some("by the context"));
    let cookies = response
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(
        cookies.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["a=1", "b=2"]
    );
    assert_eq!(
        response.header("x-second-outcomes"),
        None,
        "the second gate has run"
    );

    let response = through(&server, json!([]), respond).refused().await;
    assert_eq!(response.status, 302, "the second gate decides too");
}

#[tokio::test]
async fn m2_a_refused_request_opens_no_socket() {
    let server = Server::with(&["scripted", "attach"]).start();
    let mut observer = observer(&server, "/scripted").await;
    let response = Connect::to(server.url("/scripted"))
        .header("x-values", "no JSON")
        .refused()
        .await;
    expect_failed(&response, &json!("an error"));
    assert_eq!(observer.ask(json!({ "do": "sockets" })).await, 1);
}

#[tokio::test]
async fn m2_a_plain_get_passes_the_middlewares_first() {
    let server = gated();
    let respond =
        json!([{ "do": "respond", "status": 401, "headers": [], "body": "who are you?" }])
            .to_string();
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request("GET", "/gated", &[("x-second", &respond)]))
        .await;
    let response = raw.response().await;
    assert_eq!((response.status, response.text()), (401, "who are you?"));
    assert_eq!(get(server.address(), "/gated").await.status, 426);

    let add = json!([{ "do": "header", "name": "x-added", "value": "by the context" }]).to_string();
    raw.write(&Raw::request("GET", "/gated", &[("x-first", &add)]))
        .await;
    let response = raw.response().await;
    assert_eq!(
        (response.status, response.header("x-added")),
        (426, Some("by the context"))
    );
}

#[tokio::test]
async fn m3_the_last_value_set_is_the_handlers() {
    let server = gated();
    let first = json!([{ "do": "value", "json": "1" }, { "do": "value", "json": " {\"a\" : 2} " }]);
    let mut client = through(&server, first, json!([{ "do": "read-value" }]))
        .open()
        .await;
    assert_eq!(
        outcomes(&client.response, "second"),
        json!([" {\"a\" : 2} "])
    );
    assert_eq!(values(&mut client).await, " {\"a\" : 2} ");
    let client = through(
        &server,
        json!([{ "do": "value", "json": "1" }]),
        json!([{ "do": "value", "json": "2" }]),
    );
    assert_eq!(values(&mut client.open().await).await, "2");
}

#[tokio::test]
async fn m3_a_value_that_is_not_json_is_an_error_to_the_middleware() {
    let server = gated();
    for text in ["", "{", "1 2", "NaN", "{'a':1}", "undefined"] {
        let steps = json!([{ "do": "value", "json": "7" }, { "do": "value", "json": text }, { "do": "read-value" }]);
        let mut client = through(&server, steps, json!([])).open().await;
        let outcomes = outcomes(&client.response, "first");
        assert!(outcomes[1]["error"].is_string(), "{text}: {outcomes}");
        assert_eq!(outcomes[2], "7", "{text}");
        assert_eq!(values(&mut client).await, "7", "{text}");
    }
}

#[tokio::test]
async fn m3_a_value_has_64_kib_at_most() {
    const LARGEST: usize = 64 << 10;
    let server = gated();
    let steps =
        json!([{ "do": "value-of", "bytes": LARGEST }, { "do": "value-of", "bytes": LARGEST + 1 }]);
    let mut client = through(&server, steps, json!([])).open().await;
    let outcomes = outcomes(&client.response, "first");
    assert_eq!(outcomes[0], "done");
    assert!(outcomes[1]["error"].is_string(), "{outcomes}");
    assert_eq!(values(&mut client).await.len(), LARGEST);
}

#[tokio::test]
async fn m3_what_middlewares_hand_on_has_64_kib_at_most_together() {
    const LARGEST: usize = 64 << 10;
    let server = gated();
    // The key counts too: one byte.
    let first = json!([
        { "do": "set-of", "key": "a", "bytes": 1000 },
        { "do": "set-of", "key": "a", "bytes": LARGEST - 1 },
        { "do": "set", "key": "b", "json": "1" },
        { "do": "get", "key": "b" },
        { "do": "set-of", "key": "a", "bytes": LARGEST },
    ]);
    let second = json!([
        { "do": "set", "key": "b", "json": "1" },
        { "do": "set", "key": "a", "json": "1" },
        { "do": "set", "key": "b", "json": "no JSON" },
        { "do": "set-of", "key": "b", "bytes": LARGEST - 3 },
    ]);
    let client = through(&server, first, second).open().await;
    let first = outcomes(&client.response, "first");
    assert_eq!(
        [&first[0], &first[1], &first[3]],
        [&json!("done"), &json!("done"), &json!(null)]
    );
    assert!(
        first[2]["error"].is_string() && first[4]["error"].is_string(),
        "{first}"
    );
    let second = outcomes(&client.response, "second");
    assert!(
        second[0]["error"].is_string(),
        "the bound is the chain's: {second}"
    );
    assert!(second[2]["error"].is_string(), "{second}");
    assert_eq!([&second[1], &second[3]], ["done", "done"], "{second}");
}

#[tokio::test]
async fn m4_the_token_is_checked_as_documented() {
    let server = Server::with(&["private", "ws-auth"]).start();
    let unauthorized = (401, r#"{"error":"Unauthorized"}"#);
    let invalid = (401, r#"{"error":"Invalid token"}"#);
    for (path, header, expected) in [
        ("/private", None, unauthorized),
        ("/private?token=", None, unauthorized),
        ("/private?Token=valid-token", None, unauthorized),
        ("/private", Some("Basic dmFsaWQtdG9rZW4="), unauthorized),
        ("/private", Some("valid-token"), unauthorized),
        ("/private?token=wrong", None, invalid),
        ("/private?token=wrong", Some("Bearer valid-token"), invalid),
        ("/private", Some("Bearer wrong"), invalid),
        ("/private?token=valid-token%20", None, invalid),
    ] {
        let mut connect = Connect::to(server.url(path));
        if let Some(value) = header {
            connect = connect.header("Authorization", value);
        }
        let response = connect.refused().await;
        assert_eq!(
            (response.status, response.text()),
            expected,
            "{path} {header:?}"
        );
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(
            get(server.address(), "/private").await.status,
            401,
            "a plain GET is asked for the token first"
        );
    }
    let authenticated = r#"{"type":"authenticated","userId":"123","username":"john_doe"}"#;
    let mut by_query = connect(server.url("/private?token=valid-token")).await;
    assert_eq!(by_query.recv_text().await, authenticated);
    let by_header =
        Connect::to(server.url("/private")).header("Authorization", "Bearer valid-token");
    assert_eq!(by_header.open().await.recv_text().await, authenticated);
}
