//! Requests whose heads are too large, have too much in them or never end: each is refused or dropped, and a client that
//! behaves is served meanwhile.

use std::time::{Duration, Instant};

use tulpar_tests::{Client, Connect, Opcode, Raw, Server, eventually, frame};

/// How many requests were malformed, too large, or not there in time.
const REQUESTS: &str = "tulpar_refused_total{reason=\"request\"}";
/// How many responses were not taken in time.
const RESPONSES: &str = "tulpar_refused_total{reason=\"response\"}";

/// A server that gives a handshake so many milliseconds, and a client of it that chats.
async fn server(handshake_ms: u32) -> (Server, Client) {
    let server = Server::with(&["commander"])
        .config(&format!("[timeouts]\nhandshake-ms = {handshake_ms}"))
        .start();
    // It may itself be held back for longer than that.
    let client = eventually("a socket", async || {
        Connect::to(server.url("/commander")).if_it_listens().await
    })
    .await;
    (server, client)
}

/// One that gives half a second.
async fn hasty() -> (Server, Client) {
    server(500).await
}

/// One that gives more than a test has: what it refuses it refuses for what it is.
async fn patient() -> (Server, Client) {
    server(60_000).await
}

/// The healthy client is answered.
async fn chat(client: &mut Client) {
    client.send("anybody?").await;
    assert_eq!(client.recv_text().await, "anybody?");
}

/// The status of what the server says before it ends the connection; none when it says nothing.
async fn refusal(raw: &mut Raw) -> Option<u16> {
    let said = raw.rest().await;
    let said = String::from_utf8(said).expect("it is HTTP");
    let status = said.strip_prefix("HTTP/1.1 ").map(|rest| &rest[..3]);
    assert!(said.is_empty() || status.is_some(), "{said}");
    status.map(|status| status.parse().expect("it is a number"))
}

/// An upgrade with so many headers in all, and in the last of them a value of so many bytes.
fn with_headers(count: usize, bytes: usize) -> Vec<u8> {
    let names: Vec<_> = (0..count).map(|index| format!("x-{index}")).collect();
    let value = "y".repeat(bytes);
    let mut headers = Raw::upgrade_headers();
    let others = count - headers.len() - 2;
    headers.extend(names[..others].iter().map(|name| (name.as_str(), "y")));
    headers.push(("x-last", &value));
    Raw::request("GET", "/commander", &headers)
}

#[tokio::test]
async fn a_head_that_comes_a_byte_at_a_time_is_dropped_at_the_deadline() {
    const SLOW: u64 = 20;
    let (server, mut healthy) = hasty().await;
    let before = server.metric(REQUESTS);
    let begun = Instant::now();
    let mut slow: Vec<Raw> = Vec::new();
    for _ in 0..SLOW {
        slow.push(Raw::connect(server.address()).await);
    }
    // What never says its end may go on for ever: more comes until the last of them is dropped.
    let head = Raw::request("GET", "/commander", &[("x-slow", &"y".repeat(4000))]);
    let mut bytes = head[..head.len() - 4].iter();
    eventually("all of them to be dropped", async || {
        let byte = bytes.next().expect("it is no matter of size");
        for raw in &mut slow {
            raw.write(&[*byte]).await;
        }
        chat(&mut healthy).await;
        (server.metric(REQUESTS) >= before + SLOW).then_some(())
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_millis(500));
    for raw in &mut slow {
        assert!(matches!(refusal(raw).await, None | Some(408)));
    }
    chat(&mut healthy).await;
}

#[tokio::test]
async fn a_second_request_has_as_much_time_as_the_first() {
    let (server, mut healthy) = hasty().await;
    // When the test is held back the first one is too late.
    let taken = eventually("a first request in time", async || {
        let mut raw = Raw::connect(server.address()).await;
        // If its time counted for the second one too, that would have less.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        raw.write(&Raw::request("GET", "/nowhere", &[])).await;
        let first = raw.outcome("GET").await.ok();
        let first = first.filter(|response| response.status != 408)?;
        assert_eq!(first.status, 404);
        raw.write(b"GET /nowhere HTTP/1.1\r\n").await;
        assert!(matches!(refusal(&mut raw).await, None | Some(408)));
        Some(begun.elapsed())
    })
    .await;
    assert!(taken >= Duration::from_millis(500), "{taken:?}");
    chat(&mut healthy).await;
}

#[tokio::test]
async fn a_request_has_as_many_headers_as_allowed_and_not_one_more() {
    let (server, mut healthy) = patient().await;
    let few = Server::with(&["commander"])
        .config("[limits]\nrequest-headers = 32")
        .start();
    let many = Server::with(&["commander"])
        .config("[limits]\nrequest-headers = 1000\nrequest-head-bytes = 65536")
        .start();
    for (server, most) in [(&server, 100), (&few, 32), (&many, 1000)] {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&with_headers(most, 1)).await;
        assert_eq!(raw.response().await.status, 101, "{most}");
        raw.send(frame(Opcode::Text, b"hello")).await;
        assert_eq!(raw.frame().await.payload, b"hello");
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&with_headers(most + 1, 1)).await;
        assert_eq!(raw.response().await.status, 431, "{most}");
        assert_eq!(raw.rest().await, b"");
        chat(&mut healthy).await;
    }
}

#[tokio::test]
async fn a_head_has_as_many_bytes_as_allowed_and_not_one_more() {
    let (server, mut healthy) = patient().await;
    let size = |bytes: usize| with_headers(10, bytes).len();
    let fits = (16 << 10) - size(0);
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&with_headers(10, fits)).await;
    assert_eq!(raw.response().await.status, 101);
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&with_headers(10, fits + 1)).await;
    assert_eq!(raw.response().await.status, 431);
    assert_eq!(raw.rest().await, b"");
    chat(&mut healthy).await;
}

#[tokio::test]
async fn ten_thousand_headers_are_refused() {
    let (server, mut healthy) = patient().await;
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&with_headers(10_000, 1)).await;
    assert!(matches!(refusal(&mut raw).await, None | Some(431)));
    chat(&mut healthy).await;
}

#[tokio::test]
async fn a_url_of_a_mebibyte_is_refused() {
    let (server, mut healthy) = patient().await;
    let path = format!("/commander?{}", "y".repeat(1 << 20));
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::upgrade_request(&path)).await;
    assert!(matches!(refusal(&mut raw).await, None | Some(414 | 431)));
    chat(&mut healthy).await;
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let (server, mut healthy) = patient().await;
    let before = server.resident_bytes();
    for part in [
        "GET /commander HTTP/1.1\r\nHost: localhost\r\nx-long: ",
        "GET /",
        "x",
    ] {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(part.as_bytes()).await;
        for _ in 0..64 {
            raw.write(&[b'y'; 64 << 10]).await;
        }
        assert!(matches!(refusal(&mut raw).await, None | Some(400..500)));
        chat(&mut healthy).await;
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 50 << 20, "the process has grown by {grown} bytes");
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_takes_no_answer_is_dropped() {
    let (server, mut healthy) = hasty().await;
    let requests = Raw::request("GET", "/nowhere", &[]).repeat(1000);
    // When the test is held back while it is still asking, it is the next request that is too late.
    let taken = eventually("a response not to be taken in time", async || {
        let before = server.metric(RESPONSES);
        let begun = Instant::now();
        let mut raw = Raw::connect(server.address()).await;
        // Far more than there is room for on the way: without its end, one of these would wait for ever.
        for _ in 0..1000 {
            raw.write(&requests).await;
        }
        raw.rest().await;
        (server.metric(RESPONSES) > before).then(|| begun.elapsed())
    })
    .await;
    assert!(taken >= Duration::from_secs(1), "{taken:?}");
    chat(&mut healthy).await;
}

#[tokio::test]
async fn nothing_but_line_ends_is_dropped_at_the_deadline() {
    let (server, mut healthy) = hasty().await;
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&b"\r\n".repeat(1000)).await;
    assert!(matches!(refusal(&mut raw).await, None | Some(400..500)));
    chat(&mut healthy).await;
}
