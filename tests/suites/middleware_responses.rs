//! What a middleware may answer, and what is no answer: rule M2.

use tulpar_tests::{connect, expect_failed, gated, json, outcomes, through};

#[tokio::test]
async fn m2_any_status_from_200_to_599_is_sent_and_no_other() {
    let server = gated();
    let respond =
        |status: u16| json!([{ "do": "respond", "status": status, "headers": [], "body": "" }]);
    for status in [200, 204, 304, 400, 404, 429, 500, 599] {
        assert_eq!(
            through(&server, respond(status), json!([]))
                .refused()
                .await
                .status,
            status
        );
    }
    for status in [0, 100, 101, 199, 600, 999, 1000, 65_535] {
        expect_failed(
            &through(&server, respond(status), json!([])).refused().await,
            &json!(status),
        );
    }
}

#[tokio::test]
async fn m2_a_body_has_1_mib_at_most() {
    let server = gated();
    let respond = |bytes: usize| json!([{ "do": "respond-of", "bytes": bytes }]);
    let response = through(&server, respond(1 << 20), json!([]))
        .refused()
        .await;
    assert_eq!((response.status, response.body.len()), (200, 1 << 20));
    expect_failed(
        &through(&server, respond((1 << 20) + 1), json!([]))
            .refused()
            .await,
        &json!("a larger body"),
    );
}

#[tokio::test]
async fn m2_headers_of_the_host_are_an_error_of_the_middleware() {
    let server = gated();
    for (name, value) in [
        ("Connection", "close"),
        ("transfer-encoding", "chunked"),
        ("Content-Length", "1000"),
        ("upgrade", "h2c"),
        ("Sec-WebSocket-Accept", "secret"),
        ("sec-websocket-protocol", "v1"),
        ("SEC-WEBSOCKET-ANYTHING", "x"),
        ("", "empty name"),
        ("bad name", "x"),
        ("x-split", "a\r\nSet-Cookie: secret=1"),
        ("x-nul", "a\u{0}b"),
    ] {
        let respond =
            json!([{ "do": "respond", "status": 200, "headers": [[name, value]], "body": "" }]);
        expect_failed(
            &through(&server, respond, json!([])).refused().await,
            &json!([name, value]),
        );
        let add = json!([{ "do": "header", "name": name, "value": value }]);
        let client = through(&server, add, json!([])).open().await;
        let outcome = outcomes(&client.response, "first");
        assert!(
            outcome[0]["error"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{name}: {outcome}"
        );
        let leaks = client
            .response
            .headers
            .iter()
            .any(|(_, sent)| sent == value || sent.contains("secret"));
        assert!(!leaks, "{name}: {:?}", client.response);
    }
}

#[tokio::test]
async fn m2_at_most_64_headers_are_added() {
    let server = gated();
    let add = |times: usize| json!([{ "do": "headers", "times": times }]);
    // The gate's report is a header too, and with 64 added before, an error.
    let response = through(&server, add(64), json!([])).refused().await;
    expect_failed(&response, &json!("a 65th header"));
    let client = through(&server, add(63), json!([])).open().await;
    assert_eq!(outcomes(&client.response, "first"), json!([63]));
    assert_eq!(client.response.header("x-62"), Some("y"));
}

#[tokio::test]
async fn m2_the_headers_of_a_response_have_a_size() {
    let server = gated();
    let most = (16 << 10) - "x-large".len();
    let add = |len: usize| json!([{ "do": "header", "name": "x-large", "value": "y".repeat(len) }]);
    let outcome = async |len: usize| {
        let client = through(&server, json!([]), add(len)).open().await;
        outcomes(&client.response, "second")[0].clone()
    };
    assert_eq!(outcome(1000).await, "done");
    assert!(outcome(most + 1).await["error"].is_string());
    let respond = |headers: Vec<[String; 2]>| json!([{ "do": "respond", "status": 200, "headers": headers, "body": "" }]);
    let large = |len: usize| vec![["x-large".to_owned(), "y".repeat(len)]];
    let many = |count: usize| (0..count).map(|n| [format!("x-{n}"), "y".to_owned()]);
    for (headers, status) in [
        (large(most), 200),
        (large(most + 1), 500),
        (many(64).collect(), 200),
        (many(65).collect(), 500),
    ] {
        let count = headers.len();
        let response = through(&server, respond(headers), json!([]))
            .refused()
            .await;
        assert_eq!(response.status, status, "{count} headers");
    }
}

#[tokio::test]
async fn m2_a_failing_middleware_is_a_500_and_no_upgrade() {
    let server = gated();
    for failure in [
        json!({ "do": "error", "text": "the secret is out" }),
        json!({ "do": "panic" }),
        json!({ "do": "loop" }),
        json!({ "do": "bomb" }),
    ] {
        let response = through(&server, json!([failure]), json!([]))
            .refused()
            .await;
        expect_failed(&response, &failure);
        let response = through(&server, json!([]), json!([failure]))
            .refused()
            .await;
        expect_failed(&response, &failure);
        let mut client = connect(server.url("/gated")).await;
        client.send("the next one passes").await;
        assert_eq!(client.recv_text().await, "the next one passes", "{failure}");
    }
    server.log_line(&["the secret is out"]);
}
