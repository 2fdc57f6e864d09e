//! From a request to a socket: rules C1 and C11.

use tulpar_tests::{
    Connect, Mould, Opcode, Raw, Response, Server, connect, frame, get, json, observer,
};

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
