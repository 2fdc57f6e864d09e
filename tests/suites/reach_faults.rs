//! Other hosts that fail: what the plugin that asked them is told, and that it costs the plugin nothing else.

use std::future::{Future, pending};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tulpar_tests::{Certificate, Server, Value, call, json, observer};

/// A host that does this with each connection. Returns its port.
async fn host<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Reads a request and answers it with these bytes.
async fn answer(mut stream: TcpStream, bytes: &[u8]) -> TcpStream {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return stream,
        }
    }
    let _ = stream.write_all(bytes).await;
    stream
}

/// A server whose plugins may ask that port. Nothing but a request's own timeout ends it within a test's patience.
fn server(plugins: &[&str], port: u16) -> Server {
    let grants: String = ["desk", "commander"]
        .map(|plugin| {
            format!("[plugin.{plugin}]\nhosts = ['127.0.0.1:{port}', 'localhost:{port}']\n")
        })
        .concat();
    let config = format!("[limits]\ndeadline-ms = 60000\nrequest-deadline-ms = 60000\n{grants}");
    Server::with(plugins).config(&config).start()
}

/// A server with a desk that may ask that port.
fn desk(port: u16) -> Server {
    server(&["desk", "attach"], port)
}

/// Why a desk does not get this.
async fn error(server: &Server, told: Value) -> String {
    let answer = call(server, "/desk", told).await;
    answer["error"].as_str().unwrap_or_default().to_owned()
}

/// What a desk gets from a host of this name that answers with these bytes.
async fn fetched(name: &str, bytes: &'static [u8]) -> Value {
    let port = host(async move |stream| drop(answer(stream, bytes).await)).await;
    let told = json!({ "fetch": format!("http://{name}:{port}") });
    call(&desk(port), "/desk", told).await
}

#[tokio::test]
async fn a_host_is_found_by_its_name() {
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let answer = fetched("localhost", whole).await;
    assert_eq!(answer, json!({ "status": 200, "body": "hi" }));
}

#[tokio::test]
async fn a_host_that_is_silent_in_tls_costs_a_plugin_no_instance() {
    let port = host(async |_stream| pending().await).await;
    let server = server(&["commander"], port);
    let mut client = observer(&server, "/commander").await;
    let seen = client.ask(json!({ "do": "seen" })).await.as_u64();
    let told = json!({ "fetch-within": [format!("https://127.0.0.1:{port}"), 200] });
    let answer = client.ask(json!({ "do": "call", "call": told })).await;
    assert_eq!(answer, json!({ "error": "the request took too long" }));
    let seen_then = client.ask(json!({ "do": "seen" })).await.as_u64();
    assert_eq!(seen_then, seen.map(|seen| seen + 2));
}

#[tokio::test]
async fn a_body_that_stalls_took_too_long() {
    let port = host(async |stream| {
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        let _open = answer(stream, half).await;
        pending().await
    })
    .await;
    let told = json!({ "fetch-within": [format!("http://127.0.0.1:{port}"), 500] });
    assert_eq!(error(&desk(port), told).await, "the request took too long");
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_called_so() {
    let at_once = host(async |stream| drop(stream)).await;
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
    let asked = host(async |stream| drop(answer(stream, b"").await)).await;
    let half_way = host(async |stream| drop(answer(stream, half).await)).await;
    for (scheme, port) in [
        ("http", at_once),
        ("https", at_once),
        ("http", asked),
        ("http", half_way),
    ] {
        let authority = format!("127.0.0.1:{port}");
        let told = json!({ "fetch": format!("{scheme}://{authority}") });
        assert_eq!(
            error(&desk(port), told).await,
            format!("the request failed: `{authority}`: the connection broke off")
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_called_so() {
    let greeting = host(async |stream| drop(answer(stream, b"220 ready\r\n").await)).await;
    let bad_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n";
    let in_the_body = host(async |stream| drop(answer(stream, bad_chunk).await)).await;
    for port in [greeting, in_the_body] {
        let told = json!({ "fetch": format!("http://127.0.0.1:{port}") });
        let error = error(&desk(port), told).await;
        assert!(
            error.ends_with("what the host answered is not HTTP"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_called_so() {
    let certificate = Certificate::new();
    let other = Server::with(&[]).config(&certificate.config()).start();
    let port = other.address().port();
    let told = json!({ "fetch": format!("https://localhost:{port}") });
    let error = error(&desk(port), told).await;
    assert!(
        error.ends_with("the host's certificate is not valid"),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_of_any_length_leaves_no_long_line_in_the_log() {
    let server = desk(1);
    for (host, reason) in [
        ("a".repeat(300), "is not granted"),
        ("a".repeat(301), "its host or its path is not valid"),
        ("a".repeat(60_000), "its host or its path is not valid"),
        (
            "127.0.0.1:65536".into(),
            "its host or its path is not valid",
        ),
        ("last".into(), "is not granted"),
    ] {
        let error = error(&server, json!({ "fetch": format!("http://{host}") })).await;
        assert!(error.contains(reason), "{} bytes: {error}", host.len());
    }
    server.log_line(&["a request to last was denied"]);
    let log = server.stderr.text();
    assert!(log.lines().all(|line| line.len() < 2000), "{log}");
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_body_is_read_is_the_answer() {
    const HEAD: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\n\r\ntoo";
    let open = host(async |stream| {
        let mut open = answer(stream, HEAD).await;
        // Nothing more of the request is read.
        let _ = open.write_all(b"big").await;
        pending().await
    })
    .await;
    let told = json!({ "fetch-of": [format!("http://127.0.0.1:{open}"), 8 << 20] });
    let answered = call(&desk(open), "/desk", told).await;
    assert_eq!(answered, json!({ "status": 413, "body": "toobig" }));
}

#[tokio::test]
async fn what_comes_behind_an_answer_does_not_spoil_it() {
    let more = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n";
    let answer = fetched("127.0.0.1", more).await;
    assert_eq!(answer, json!({ "status": 200, "body": "hi" }));
}

#[tokio::test]
async fn an_answer_that_is_no_refusal_does_not_end_the_body() {
    const BYTES: usize = 8 << 20;
    let port = host(async |stream| {
        let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let mut stream = answer(stream, begun).await;
        let mut body = vec![0; BYTES];
        if stream.read_exact(&mut body).await.is_ok() {
            let _ = stream.write_all(b"done").await;
        }
    })
    .await;
    let told = json!({ "fetch-of": [format!("http://127.0.0.1:{port}"), BYTES] });
    let answered = call(&desk(port), "/desk", told).await;
    assert_eq!(answered, json!({ "status": 200, "body": "done" }));
}
