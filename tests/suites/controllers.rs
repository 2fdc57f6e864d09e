//! HTTP controllers: rule S1. The guests know nothing of the SDK: `foreign` is written with another library, and `unruly`
//! against `wasi:http` itself.

use tulpar_tests::{
    Mould, Raw, Request, Server, Value, ask, eventually, expect_echo, expect_error, expect_text,
    guest, json,
};

const GREETING: &str = "Hello from elsewhere!\n";

/// Both controllers, and a namespace that wants nothing of them.
fn server(limits: &str) -> Server {
    // Long for the namespace, which is never what a test here is about.
    let limits = format!("[limits]\ndeadline-ms = 2000\n{limits}");
    let server = Server::with(&["echo", "foreign", "unruly"]);
    server.config(&limits).start()
}

/// The headers of the request as the controller below `prefix` has seen them.
async fn seen_headers(server: &Server, prefix: &str, request: Request) -> Value {
    let response = request.send(server.address()).await;
    assert_eq!(response.status, 200, "{prefix}: {response:?}");
    serde_json::from_slice(&response.body).expect("it is JSON")
}

#[tokio::test]
async fn s1_a_foreign_component_serves_below_its_files_name() {
    let server = server("");
    for path in [
        "/foreign",
        "/foreign/",
        "/foreign?name=ada",
        "/foreign/?name=ada",
    ] {
        expect_text(&ask(&server, path).await, 200, GREETING);
    }
    for path in ["/foreign/wait", "/foreign/wait-body"] {
        expect_text(&ask(&server, path).await, 200, "Thanks for waiting!\n");
    }
    for inside in [
        "/nowhere",
        "/nowhere?x=1&y=%20",
        "/a%20b//c/",
        "/foreign",
        "/Echo",
    ] {
        let response = ask(&server, &format!("/foreign{inside}")).await;
        expect_text(&response, 404, &format!("no GET of {inside}\n"));
    }
    for outside in [
        "/",
        "/foreig",
        "/foreignx",
        "/foreign.wasm",
        "/Foreign",
        "//foreign",
        "/x/foreign",
    ] {
        expect_error(&ask(&server, outside).await, 404, "Not Found");
    }
}

#[tokio::test]
async fn s1_a_controller_is_asked_with_any_method_and_body() {
    let server = server("");
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "PURGE"] {
        let response = Request::new(method, "/foreign/x")
            .send(server.address())
            .await;
        expect_text(&response, 404, &format!("no {method} of /x\n"));
    }
    for length in [0, 1, 5_000, 300_000] {
        let body: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let request = Request::post("/foreign/echo", body.clone());
        for request in [request.clone(), request.chunked(1000)] {
            let response = request.send(server.address()).await;
            assert!(
                response.status == 200 && response.body == body,
                "{length} bytes are echoed"
            );
        }
    }
}

#[tokio::test]
async fn s1_a_controller_sees_where_it_is_mounted_and_nothing_that_a_client_made_up() {
    let server = server("");
    let request = Request::get("/foreign/headers?x=1").header("X-Mine", "kept");
    let seen = seen_headers(&server, "/foreign", request.clone()).await;
    assert_eq!(seen["x-mine"], "kept");
    assert_eq!(seen["x-forwarded-prefix"], "/foreign");
    assert_eq!(seen.get("tulpar-values"), None);

    let request = request
        .header("Tulpar-Values", r#"{"userId":"1"}"#)
        .header("tulpar-values", "{}")
        .header("X-Forwarded-Prefix", "/elsewhere")
        .header("x-forwarded-prefix", "/nowhere");
    assert_eq!(seen_headers(&server, "/foreign", request).await, seen);
}

#[tokio::test]
async fn s1_each_request_has_an_instance_of_its_own() {
    let server = server("");
    let mut raw = Raw::connect(server.address()).await;
    for _ in 0..3 {
        let request = Request::get("/unruly/state");
        expect_text(&request.send_on(&mut raw).await, 200, "1");
        expect_text(&request.send(server.address()).await, 200, "1");
    }
}

#[tokio::test]
async fn s1_a_connection_serves_several_requests() {
    let server = server("");
    let mut raw = Raw::connect(server.address()).await;
    expect_text(
        &Request::get("/foreign").send_on(&mut raw).await,
        200,
        GREETING,
    );
    for path in ["/foreign", "/foreign/headers", "/unruly/state"] {
        let head = Request::new("HEAD", path).send_on(&mut raw).await;
        expect_text(&head, 200, "");
    }
    expect_text(
        &Request::post("/foreign/echo", "hello")
            .send_on(&mut raw)
            .await,
        200,
        "hello",
    );
    expect_error(
        &Request::get("/nowhere").send_on(&mut raw).await,
        404,
        "Not Found",
    );

    // All at once, they are answered in their order.
    let requests = [
        Request::get("/foreign/wait"),
        Request::post("/unruly/echo", "second").chunked(2),
        Request::get("/foreign/third"),
    ];
    raw.write(&requests.map(|request| request.bytes()).concat())
        .await;
    for (status, text) in [
        (200, "Thanks for waiting!\n"),
        (200, "second"),
        (404, "no GET of /third\n"),
    ] {
        let response = raw.outcome("GET").await.expect("it is answered whole");
        expect_text(&response, status, text);
    }
}

#[tokio::test]
async fn s1_an_answer_to_a_head_has_a_body_that_nobody_takes() {
    let server = server("requests = 1");
    // The response is over for the client before its body is written.
    let head = Request::new("HEAD", "/foreign/wait-body");
    expect_text(&head.send(server.address()).await, 200, "");
    eventually("the controller to be done", async || {
        let response = ask(&server, "/foreign").await;
        (response.status == 200).then_some(())
    })
    .await;
    // It has done nothing wrong.
    let lines = server.stderr.with("foreign.wasm");
    let failures: Vec<_> = lines.iter().filter(|line| line.contains("WARN")).collect();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn s1_old_and_odd_requests_are_answered() {
    let server = server("");
    let mut raw = Raw::connect(server.address()).await;
    raw.write(b"GET /foreign HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    expect_text(
        &raw.outcome("GET").await.expect("it is whole"),
        200,
        GREETING,
    );

    let mut raw = Raw::connect(server.address()).await;
    raw.write(b"GET http://localhost/foreign/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    expect_text(
        &raw.outcome("GET").await.expect("it is whole"),
        404,
        "no GET of /x?y\n",
    );

    // What names no host is refused or served, but it is no failure of the controller's.
    for request in [
        "GET /foreign HTTP/1.0\r\n\r\n",
        "GET /foreign HTTP/1.1\r\n\r\n",
        "GET /foreign HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /foreign HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /foreign HTTP/1.1\r\nHost: \u{fc}\r\n\r\n",
        "GET /foreign HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n",
    ] {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(request.as_bytes()).await;
        let response = raw.outcome("GET").await.expect("it is whole");
        assert!(
            matches!(response.status, 200 | 400),
            "{request:?}: {response:?}"
        );
    }
    expect_text(&ask(&server, "/foreign").await, 200, GREETING);
}

#[tokio::test]
async fn s1_a_controller_learns_nothing_of_the_machine() {
    let server = Server::with(&["unruly"])
        .env("SECRET", "not for guests")
        .start();
    let said = ask(&server, "/unruly/env").await;
    let said: Value = serde_json::from_slice(&said.body).expect("it is JSON");
    assert_eq!(said["variables"], json!({}));
    assert_eq!(said["arguments"], json!([]));
}

#[tokio::test]
async fn s1_a_controller_that_is_dropped_in_is_served() {
    let server = Server::with(&["echo"]).start();
    expect_error(&ask(&server, "/foreign").await, 404, "Not Found");
    server.drop_in("foreign.wasm", &guest("foreign"));
    eventually("/foreign to be served", async || {
        let response = ask(&server, "/foreign").await;
        (response.status == 200).then_some(())
    })
    .await;
    expect_text(&ask(&server, "/foreign/").await, 200, GREETING);
}

#[tokio::test]
async fn p3_a_tenants_controller_serves_below_the_tenants_name() {
    let server = Server::with(&["foreign"])
        .tenant("acme", &["foreign"])
        .start();
    for prefix in ["/foreign", "/acme/foreign"] {
        let headers = Request::get(&format!("{prefix}/headers"));
        let seen = seen_headers(&server, prefix, headers).await;
        assert_eq!(seen["x-forwarded-prefix"], prefix);
        let response = ask(&server, &format!("{prefix}/")).await;
        expect_text(&response, 200, GREETING);
    }
    for other in ["/acme", "/acme/foreignx"] {
        assert_eq!(ask(&server, other).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn c1_an_upgrade_goes_to_the_namespace_and_the_rest_to_the_controller() {
    let server = Server::with(&["foreign"])
        .file("moulded.wasm", &Mould::namespace("/foreign").bytes())
        .file("deep.wasm", &Mould::namespace("/foreign/deep").bytes())
        .start();
    expect_echo(&server, "/foreign").await;
    expect_echo(&server, "/foreign/deep").await;
    expect_text(&ask(&server, "/foreign").await, 200, GREETING);
    expect_text(
        &ask(&server, "/foreign/deep").await,
        404,
        "no GET of /deep\n",
    );
    // No namespace has that path; what wants a WebSocket there gets what anybody gets.
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::upgrade_request("/foreign/x")).await;
    let response = raw.outcome("GET").await.expect("it is whole");
    expect_text(&response, 404, "no GET of /x\n");
}
