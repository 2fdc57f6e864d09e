//! What V2 says of HTTP controllers that trap, hang, answer garbage or too much, and of their clients.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tulpar_tests::{
    PATIENCE, Raw, Request, Server, Signal, ask, chunk, connect, eventually, expect_echo,
    expect_error, expect_text, get, while_a_neighbour_chats,
};

const GREETING: &str = "Hello from elsewhere!\n";

/// Both controllers, and a namespace that wants nothing of them.
fn server(limits: &str) -> Server {
    // Long for the namespace, which is never what a test here is about.
    let limits = format!("[limits]\ndeadline-ms = 2000\n{limits}");
    let server = Server::with(&["echo", "foreign", "unruly"]);
    server.config(&limits).start()
}

/// Whether `unruly` takes one more request, which then has an instance of its own.
async fn takes_a_request(server: &Server) -> bool {
    let response = ask(server, "/unruly/state").await;
    if response.status == 503 {
        return false;
    }
    expect_text(&response, 200, "1");
    true
}

/// A request to `unruly` that lasts until its body is ended.
async fn hold(server: &Server) -> Raw {
    let mut raw = Raw::connect(server.address()).await;
    let head = Raw::request("POST", "/unruly/echo", &[("Transfer-Encoding", "chunked")]);
    raw.write(&[head, chunk(b"held")].concat()).await;
    assert_eq!(raw.response_head().await.status, 200);
    assert_eq!(raw.chunk().await, b"held");
    raw
}

#[tokio::test]
async fn v2_a_failure_before_the_response_is_answered_by_the_host() {
    const ERROR: (u16, &str) = (500, "Internal Server Error");
    const LATE: (u16, &str) = (504, "Gateway Timeout");
    for (path, (status, reason), said) in [
        ("/trap", ERROR, "trapped"),
        ("/bomb", ERROR, "trapped"),
        ("/recurse", ERROR, "trapped"),
        ("/nothing", ERROR, ""),
        ("/error", ERROR, ""),
        ("/loop", LATE, "limits.compute-ms"),
        ("/sleep", LATE, "limits.request-deadline-ms"),
    ] {
        // A server for each, so that each has its own line in the log.
        let server = server("compute-ms = 200\nrequest-deadline-ms = 4000");
        let mut neighbour = connect(server.url("/echo")).await;
        let response = ask(&server, &format!("/unruly{path}")).await;
        expect_error(&response, status, reason);
        server.log_line(&["WARN", "unruly.wasm", said]);

        neighbour.send("unharmed").await;
        assert_eq!(neighbour.recv_text().await, "unharmed", "{path}");
        assert!(takes_a_request(&server).await, "{path}");
    }
}

#[tokio::test]
async fn v2_a_failure_in_the_body_breaks_the_connection_off() {
    for (path, said) in [
        ("/trap-in-body", "trapped"),
        ("/short", ""),
        ("/huge?bytes=100000", "limits.response-body-bytes"),
        ("/stream-for-ever", "limits.response-body-bytes"),
    ] {
        let server = server("response-body-bytes = 10000");
        let mut neighbour = connect(server.url("/echo")).await;
        let request = Request::get(&format!("/unruly{path}"));
        // How much of it had left when it failed is left to chance.
        if let Some(begun) = request.broken_off(server.address()).await.0 {
            assert_eq!(begun.status, 200, "{path}");
            assert!(begun.body.len() <= 10_000, "{path}");
        }
        server.log_line(&["WARN", "unruly.wasm", said]);

        neighbour.send("unharmed").await;
        assert_eq!(neighbour.recv_text().await, "unharmed", "{path}");
        assert!(takes_a_request(&server).await, "{path}");
    }
}

#[tokio::test]
async fn v2_a_client_that_stalls_is_cut_off_in_time_and_none_of_the_controllers_failures() {
    const HELD_UP: &str = "the client held it up";
    let limits = "request-deadline-ms = 3500\nresponse-body-bytes = 1073741824\n\
                  quarantine-failures = 1\n[timeouts]\nquarantine-ms = 60000";
    let server = Server::with(&["unruly"])
        .config(&format!("[limits]\n{limits}"))
        .start();
    // It does not send what it has promised.
    let mut silent = Raw::connect(server.address()).await;
    let length = [("Content-Length", "100")];
    silent
        .write(&Raw::request("POST", "/unruly/count-body", &length))
        .await;
    // It does not read.
    let mut deaf = Raw::connect(server.address()).await;
    deaf.write(&Request::get("/unruly/stream-for-ever").bytes())
        .await;
    expect_error(&silent.response().await, 408, "Request Timeout");
    server.log_line(&[
        "DEBUG",
        "unruly.wasm",
        HELD_UP,
        "limits.request-deadline-ms",
    ]);
    eventually("the controller to be over", async || {
        (server.stderr.with(HELD_UP).len() == 2).then_some(())
    })
    .await;
    let broken = deaf.outcome("GET").await.expect_err("it never ends");
    assert_eq!(broken.begun().status, 200);

    assert!(takes_a_request(&server).await, "it is in quarantine");
    let mut warnings = server.stderr.with("WARN");
    warnings.retain(|line| line.contains("unruly.wasm"));
    assert!(warnings.is_empty(), "{warnings:?}");
    // What it does by itself is its own.
    let response = ask(&server, "/unruly/sleep").await;
    expect_error(&response, 504, "Gateway Timeout");
    assert!(!takes_a_request(&server).await);
}

#[tokio::test]
async fn c8_a_connection_that_a_controller_has_answered_on_has_its_time_until_the_next_request() {
    let server = server("request-deadline-ms = 3500\n[timeouts]\nhandshake-ms = 60000");
    let mut raw = Raw::connect(server.address()).await;
    let request = Request::get("/unruly/state");
    expect_text(&request.send_on(&mut raw).await, 200, "1");
    // Longer than the request might have taken.
    tokio::time::sleep(Duration::from_millis(3800)).await;
    for _ in 0..2 {
        expect_text(&request.send_on(&mut raw).await, 200, "1");
    }
}

#[tokio::test]
async fn v2_no_more_is_printed_at_once_than_there_is_room_for() {
    let server = server("");
    let printed = ask(&server, "/unruly/print?bytes=8192").await;
    expect_text(&printed, 200, "printed");
    let response = ask(&server, "/unruly/print?bytes=8193").await;
    expect_error(&response, 500, "Internal Server Error");
    server.log_line(&["WARN", "unruly.wasm", "write exceeded budget"]);
}

#[tokio::test]
async fn v2_requests_that_are_none_write_no_more_than_other_lines_into_the_log() {
    let mut server = server("");
    let refused = ask(&server, "/unruly/no-path?times=1000").await;
    expect_text(&refused, 200, "1000");
    server.signal(Signal::TERM);
    server.wait_exit(PATIENCE);
    let warnings = server.stderr.with("WARN");
    assert!(warnings.len() < 200, "{} of them", warnings.len());
}

#[tokio::test]
async fn v2_controllers_that_loop_side_by_side_leave_room_for_others() {
    let server = server("compute-ms = 250\nrequest-deadline-ms = 60000");
    while_a_neighbour_chats(&server, async || {
        let mut loops = Vec::new();
        // More of them than there are threads.
        for _ in 0..8 {
            let mut raw = Raw::connect(server.address()).await;
            raw.write(&Request::get("/unruly/loop").bytes()).await;
            loops.push(raw);
        }
        for raw in &mut loops {
            let response = raw.outcome("GET").await.expect("it is whole");
            expect_error(&response, 504, "Gateway Timeout");
        }
    })
    .await;
    assert!(takes_a_request(&server).await);
}

#[tokio::test]
async fn v2_a_request_body_is_no_larger_than_allowed() {
    let server = server("request-body-bytes = 1000");
    for (length, allowed) in [(999, true), (1000, true), (1001, false), (5000, false)] {
        let request = Request::post("/unruly/count-body", vec![b'.'; length]);
        for request in [
            request.clone(),
            request.clone().chunked(7),
            request.chunked(4000),
        ] {
            let response = request.send(server.address()).await;
            if allowed {
                expect_text(&response, 200, &length.to_string());
            } else {
                expect_error(&response, 413, "Content Too Large");
            }
        }
    }
    // Nobody waits for what is too large anyway.
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request(
        "POST",
        "/unruly/sleep",
        &[("Content-Length", "1001")],
    ))
    .await;
    let response = raw.outcome("POST").await.expect("it is whole");
    expect_error(&response, 413, "Content Too Large");
    assert!(takes_a_request(&server).await);
}

#[tokio::test]
async fn v2_a_response_body_is_no_larger_than_allowed() {
    let server = server("response-body-bytes = 10000");
    for length in [0, 1, 10_000] {
        let response = ask(&server, &format!("/unruly/huge?bytes={length}")).await;
        assert_eq!((response.status, response.body.len()), (200, length));
    }
    let request = Request::get("/unruly/huge?bytes=10001");
    request.broken_off(server.address()).await;
    assert!(takes_a_request(&server).await);
}

#[tokio::test]
async fn v2_a_controller_serves_no_more_requests_at_once_than_allowed() {
    let server = server("requests = 2");
    let mut first = hold(&server).await;
    let mut second = hold(&server).await;
    let response = ask(&server, "/unruly/state").await;
    expect_error(&response, 503, "Service Unavailable");
    assert_eq!(response.header("retry-after"), Some("1"));
    // The bound is each controller's own, and nobody is queued.
    expect_text(&ask(&server, "/foreign").await, 200, GREETING);
    expect_echo(&server, "/echo").await;

    first.write(&chunk(b"")).await;
    assert_eq!(first.chunk().await, b"");
    eventually("room for another request", async || {
        takes_a_request(&server).await.then_some(())
    })
    .await;
    second.write(&chunk(b"")).await;
    assert_eq!(second.chunk().await, b"");
}

#[tokio::test]
async fn v2_all_controllers_together_leave_half_of_the_instances() {
    // One instance describes each plugin when it is loaded, and is gone then.
    let server = server("instances = 4");
    let mut held = vec![hold(&server).await, hold(&server).await];
    let refused = ask(&server, "/foreign").await;
    expect_error(&refused, 503, "Service Unavailable");
    // A namespace has its own.
    expect_echo(&server, "/echo").await;
    let mut raw = held.pop().expect("there are two");
    raw.write(&chunk(b"")).await;
    assert_eq!(raw.chunk().await, b"");
    eventually("room for one more", async || {
        (ask(&server, "/foreign").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn v2_a_client_that_leaves_costs_nobody() {
    // Longer than is waited for the end of a request, which has to hear that the client has left.
    const LONG: u32 = 60_000;
    for (method, path, deadline_ms) in [
        ("POST", "/count-body", LONG),
        ("POST", "/echo", LONG),
        ("GET", "/stream-for-ever", LONG),
        // It waits for nothing that the client could end.
        ("GET", "/sleep", 4000),
    ] {
        let server = server(&format!(
            "requests = 1\nrequest-deadline-ms = {deadline_ms}\ncompute-ms = 60000\n\
             response-body-bytes = 1099511627776"
        ));
        let length = [("Content-Length", "100")];
        let headers = if method == "POST" { &length[..] } else { &[] };
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Raw::request(method, &format!("/unruly{path}"), headers))
            .await;
        server.log_line(&["unruly.wasm", &format!("asked for {path}")]);
        drop(raw);
        eventually("the request to be over", async || {
            takes_a_request(&server).await.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn v2_a_body_may_be_read_slowly_or_not_at_all() {
    let server = server("");
    let body = vec![b'.'; 400];
    let slowly = Request::post("/unruly/read-slowly", body.clone());
    expect_text(&slowly.send(server.address()).await, 200, "400");
    expect_text(&slowly.chunked(9).send(server.address()).await, 200, "400");
    let ignored = Request::post("/unruly/ignore-body", body);
    expect_text(&ignored.send(server.address()).await, 200, "ignored");
    expect_text(
        &ignored.chunked(9).send(server.address()).await,
        200,
        "ignored",
    );
    assert!(takes_a_request(&server).await);
}

#[tokio::test]
async fn v2_a_status_that_is_none_is_not_sent() {
    let server = server("");
    let said = ask(&server, "/unruly/bad-status").await;
    expect_text(&said, 200, r#"{"99":false,"1000":false}"#);
    // These promise another response, or another protocol.
    for status in [100, 101, 103, 199] {
        let response = ask(&server, &format!("/unruly/status?code={status}")).await;
        expect_error(&response, 500, "Internal Server Error");
    }
    let mut raw = Raw::connect(server.address()).await;
    for (status, text) in [
        (201, "the body"),
        (204, ""),
        (304, ""),
        (404, "the body"),
        (599, "the body"),
    ] {
        let request = Request::get(&format!("/unruly/status?code={status}"));
        expect_text(&request.send_on(&mut raw).await, status, text);
    }
}

#[tokio::test]
async fn v2_a_header_that_nobody_may_send_is_refused() {
    let server = server("");
    let response = ask(&server, "/unruly/bad-header").await;
    assert_eq!(response.status, 200);
    let said: Vec<(String, String, String)> =
        serde_json::from_slice(&response.body).expect("it is JSON");
    assert!(said.len() > 10, "{said:?}");
    for (name, value, said) in said {
        let accepted = said == "accepted";
        assert_eq!(accepted, name == "x-good", "{name:?}: {value:?} is {said}");
    }
    assert_eq!(response.header("x-good"), Some("good"));
    assert_eq!(response.header("x-evil"), None);
}

#[tokio::test]
async fn v2_headers_are_no_more_than_allowed() {
    let server = server("");
    let response = ask(&server, "/unruly/many-headers?count=1000").await;
    expect_text(&response, 200, "1000");
    assert_eq!(response.header("x-many-999"), Some("one of many"));
    let response = ask(&server, "/unruly/many-headers?count=100000").await;
    expect_error(&response, 500, "Internal Server Error");
    server.log_line(&["WARN", "unruly.wasm"]);
    assert!(takes_a_request(&server).await);
}

#[tokio::test]
async fn v2_a_request_goes_only_where_the_operator_allows() {
    let peer = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let granted = peer.local_addr().expect("it is bound");
    // Nobody listens there, nor can anybody else.
    let deaf = TcpSocket::new_v4().expect("there are sockets");
    deaf.bind(([127, 0, 0, 1], 0).into())
        .expect("a port is free");
    let refusing = deaf.local_addr().expect("it is bound");
    let grants = format!("[plugin.unruly]\nhosts = [\"{granted}\", \"{refusing}\"]");
    let server = Server::with(&["unruly"]).config(&grants).start();
    let served = tokio::spawn(async move {
        let (mut stream, _) = peer.accept().await.expect("somebody comes");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the request is whole"));
        }
        let response = b"HTTP/1.1 203 Odd\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(response).await.expect("it is taken");
        String::from_utf8(head).expect("it is text")
    });
    let out = |url: String| format!("/unruly/out?url={url}");
    for elsewhere in [
        "http://127.0.0.1:1/".to_owned(),
        "http://127.0.0.1/".to_owned(),
        format!("http://localhost:{}/", granted.port()),
        format!("http://127.0.0.2:{}/", granted.port()),
        format!("https://example.com:{}/", granted.port()),
    ] {
        let response = ask(&server, &out(elsewhere.clone())).await;
        expect_text(&response, 502, "ErrorCode::HttpRequestDenied");
        let host = elsewhere.split('/').nth(2).expect("it has a host");
        server.log_line(&[
            "WARN",
            "unruly.wasm",
            &format!("\"{host}\""),
            "hosts",
            "[plugin.",
        ]);
    }
    // A name of a user must not make one host look like another.
    let response = ask(&server, &out(format!("http://{granted}@127.0.0.1:1/"))).await;
    assert_eq!(response.status, 502);

    let response = ask(&server, &out(format!("http://{granted}/a?b=c"))).await;
    expect_text(&response, 200, r#"{"status":203,"body":"hello"}"#);
    let head = served.await.expect("the peer has served");
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    let response = ask(&server, &out(format!("http://{refusing}/"))).await;
    expect_text(&response, 502, "ErrorCode::ConnectionRefused");
    assert_eq!(get(server.address(), "/nowhere").await.status, 404);
}

#[tokio::test]
async fn s1_a_body_is_sent_while_the_request_is_still_read() {
    let server = server("");
    let mut raw = hold(&server).await;
    for piece in ["one", "two", "three"] {
        raw.write(&chunk(piece.as_bytes())).await;
        assert_eq!(raw.chunk().await, piece.as_bytes());
    }
    raw.write(&chunk(b"")).await;
    assert_eq!(raw.chunk().await, b"");
    expect_text(
        &Request::get("/unruly/state").send_on(&mut raw).await,
        200,
        "1",
    );
}
