//! Where connections come from: an address or a Unix socket, a client or a proxy that says whose connection it is.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tulpar_tests::{
    Certificate, Connect, Opcode, PATIENCE, Raw, Request, Server, Signal, Stream, Value, connect,
    expect_error, frame, json, within,
};

/// How a header of version 2 of the PROXY protocol begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A server whose connections come from a proxy on this machine.
fn behind_proxy(more: &str) -> Server {
    let config = format!("[proxy]\nprotocol = true\ntrusted = [\"127.0.0.1\"]\n{more}");
    Server::with(&["commander"]).config(&config).start()
}

/// The address of the client as the server sees it, when a connection begins with these bytes.
async fn seen(server: &Server, header: &[u8]) -> Value {
    let mut raw = Raw::connect(server.address()).await;
    raw.write(header).await;
    seen_on(&mut raw).await
}

async fn seen_on(raw: &mut Raw) -> Value {
    raw.upgrade("/commander").await;
    raw.send(frame(Opcode::Text, br#"{"do":"remote-address"}"#))
        .await;
    let answer = raw.frame().await.payload;
    let mut answer: Value = serde_json::from_slice(&answer).expect("it is JSON");
    answer["answer"].take()
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len())
        .expect("it is short")
        .to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

/// What the server sends on a connection on which it is sent this, until it hangs up.
async fn rest(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut raw = Raw::connect(address).await;
    raw.write(bytes).await;
    raw.rest().await
}

#[tokio::test]
async fn a_proxy_says_in_version_1_whose_connection_it_is() {
    let server = behind_proxy("");
    for (header, client) in [
        (
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
            "203.0.113.7",
        ),
        ("PROXY TCP6 2001:db8::7 ::1 56324 443\r\n", "2001:db8::7"),
        ("PROXY UNKNOWN\r\n", "127.0.0.1"),
        ("PROXY UNKNOWN with much behind it\r\n", "127.0.0.1"),
    ] {
        assert_eq!(seen(&server, header.as_bytes()).await, client, "{header}");
    }
}

#[tokio::test]
async fn a_proxy_says_in_version_2_whose_connection_it_is() {
    let server = behind_proxy("");
    let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0, 1, 0, 2];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    v6[15] = 7;
    let longest = [&v4[..], &[0xee; 508]].concat();
    for (header, client) in [
        (version_2(0x21, 0x11, &v4), "203.0.113.7"),
        (version_2(0x21, 0x11, &longest), "203.0.113.7"),
        (version_2(0x21, 0x21, &v6), "2001:db8::7"),
        // The proxy's own connections, to see whether the server lives.
        (version_2(0x20, 0x11, &v4), "127.0.0.1"),
        (version_2(0x20, 0x00, &[]), "127.0.0.1"),
        (version_2(0x21, 0x00, &[]), "127.0.0.1"),
    ] {
        assert_eq!(seen(&server, &header).await, client, "{header:x?}");
    }
}

#[tokio::test]
async fn the_header_may_come_in_pieces_or_with_what_is_behind_it() {
    let server = behind_proxy("");
    let text = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n".to_vec();
    let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0, 1, 0, 2];
    for header in [text, version_2(0x21, 0x11, &v4)] {
        let mut raw = Raw::connect(server.address()).await;
        for byte in &header {
            raw.write(&[*byte]).await;
        }
        assert_eq!(seen_on(&mut raw).await, "203.0.113.7");

        let mut raw = Raw::connect(server.address()).await;
        let command = br#"{"do":"remote-address"}"#;
        let message = frame(Opcode::Text, command).bytes();
        let all = [header, Raw::upgrade_request("/commander"), message].concat();
        raw.write(&all).await;
        assert_eq!(raw.response().await.status, 101);
        assert_eq!(raw.frame().await.payload, br#"{"answer":"203.0.113.7"}"#);
    }
}

#[tokio::test]
async fn what_begins_with_no_valid_header_is_dropped() {
    let server = behind_proxy("");
    let too_long_1 = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 15));
    for malformed in [
        Raw::upgrade_request("/commander"),
        Raw::request("GET", "/", &[]),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 ::1 56324 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\n\n".to_vec(),
        too_long_1.into_bytes(),
        version_2(0x21, 0x11, &[0; 11]),
        version_2(0x31, 0x11, &[0; 12]),
        version_2(0x21, 0x12, &[0; 12]),
        version_2(0x21, 0x11, &[0; 521]),
    ] {
        let shown = String::from_utf8_lossy(&malformed).into_owned();
        assert_eq!(rest(server.address(), &malformed).await, b"", "{shown:?}");
    }
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
    assert_eq!(seen(&server, header).await, "203.0.113.7");
}

#[tokio::test]
async fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let server = behind_proxy("[timeouts]\nhandshake-ms = 300");
    for begun in [&b""[..], b"PROXY", b"PROXY TCP4 203.0.113.7 10", SIGNATURE] {
        assert_eq!(rest(server.address(), begun).await, b"", "{begun:?}");
    }
    server.log_line(&["dropped: the handshake takes too long"]);
}

#[tokio::test]
async fn nobody_but_a_proxy_is_let_in_when_there_are_proxies() {
    let config = "[proxy]\nprotocol = true\ntrusted = [\"10.0.0.0/8\", \"::1\"]";
    let server = Server::with(&["commander"]).config(config).start();
    let request = Raw::upgrade_request("/commander");
    let header = b"PROXY TCP4 10.0.0.1 10.0.0.1 56324 443\r\n";
    for bytes in [request.clone(), [&header[..], &request].concat()] {
        assert_eq!(rest(server.address(), &bytes).await, b"");
    }
    server.log_line(&["dropped", "none of the proxies in `proxy.trusted`"]);
}

#[tokio::test]
async fn without_the_setting_a_header_is_no_http() {
    let config = "[proxy]\ntrusted = [\"127.0.0.1\"]";
    let server = Server::with(&["commander"]).config(config).start();
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
    let answer = rest(server.address(), header).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    assert_eq!(seen(&server, b"").await, "127.0.0.1");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let certificate = Certificate::new();
    let server = behind_proxy(&certificate.config());
    let stream = TcpStream::connect(server.address()).await;
    let mut stream = stream.expect("the server accepts");
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
    stream.write_all(header).await.expect("it is taken");
    let stream = certificate.trust().encrypt(stream).await;
    let mut raw = Raw::from(stream.expect("the handshake is done"));
    assert_eq!(seen_on(&mut raw).await, "203.0.113.7");
    // Without it there is no handshake.
    let refused = certificate.trust().try_connect(server.address()).await;
    refused.expect_err("there is no header");
}

#[tokio::test]
async fn a_client_of_ipv4_has_an_address_of_ipv4_on_a_socket_for_both() {
    let server = Server::with(&["commander"]).listen("[::]:0").start();
    let port = server.address().port();
    for (address, client) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let url = format!("ws://{address}:{port}/commander");
        let mut socket = connect(url).await;
        let seen = socket.ask(json!({ "do": "remote-address" })).await;
        assert_eq!(seen, client);
    }
}

/// A path for a Unix socket, and the folder that it is in.
fn place() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tulpar.sock");
    let path = path.to_str().expect("it is text").to_owned();
    (folder, path)
}

async fn reach(path: &str) -> io::Result<impl Stream + use<>> {
    within("a connection", UnixStream::connect(path.to_owned())).await
}

#[tokio::test]
async fn it_serves_on_a_unix_socket() {
    let (_folder, path) = place();
    let listen = format!("unix:{path}");
    let mut server = Server::with(&["commander", "foreign"])
        .listen(&listen)
        .start();
    assert!(
        server
            .stdout
            .text()
            .contains(&format!("listening on {listen}"))
    );
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);

    let stream = reach(&path).await.expect("the server accepts");
    let mut client = Connect::to("ws://localhost/commander")
        .open_over(stream)
        .await;
    for size in [0, 1, 126, 70_000, 1 << 20] {
        let text = "x".repeat(size);
        client.send(text.as_str()).await;
        assert!(client.recv_text().await == text, "{size}");
    }
    // Whoever is at the other end is on this machine.
    assert_eq!(
        client.ask(json!({ "do": "remote-address" })).await,
        "127.0.0.1"
    );
    for number in 0..1_000 {
        client.feed(format!("{number}")).await;
    }
    client.flush().await;
    for number in 0..1_000 {
        assert_eq!(client.recv_text().await, format!("{number}"));
    }
    let mut raw = Raw::from(reach(&path).await.expect("the server accepts"));
    let response = Request::get("/foreign").send_on(&mut raw).await;
    assert_eq!(response.status, 200);

    server.signal(Signal::TERM);
    assert_eq!(client.expect_close().await.0, 1001);
    drop(raw);
    assert!(server.wait_exit(PATIENCE).success());
    assert!(!Path::new(&path).exists());
}

#[tokio::test]
async fn r7_a_peer_on_a_unix_socket_that_does_not_read_is_closed() {
    let (_folder, path) = place();
    let server = Server::with(&["commander"])
        .listen(format!("unix:{path}"))
        .config("[limits]\noutbox-bytes = 65536")
        .start();
    let mut deaf = Raw::from(reach(&path).await.expect("the server accepts"));
    deaf.upgrade("/commander").await;
    let flood = json!({ "do": "flood", "message": { "bytes_of": 1000 }, "at_most": 1_000_000 });
    deaf.send(frame(Opcode::Text, flood.to_string().as_bytes()))
        .await;
    assert_eq!(deaf.close_frame().await, (1008, "Slow consumer".to_owned()));
    drop(server);
}

#[tokio::test]
async fn a_proxy_may_come_by_a_unix_socket() {
    let (_folder, path) = place();
    let _server = Server::with(&["commander"])
        .listen(format!("unix:{path}"))
        .config("[proxy]\nprotocol = true\ntrusted = [\"127.0.0.1\"]")
        .start();
    let mut raw = Raw::from(reach(&path).await.expect("the server accepts"));
    raw.write(b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n")
        .await;
    assert_eq!(seen_on(&mut raw).await, "203.0.113.7");
}

#[tokio::test]
async fn a_unix_socket_that_a_killed_server_left_is_taken_over_and_no_other() {
    let (_folder, path) = place();
    let listen = format!("unix:{path}");
    let start = || Server::with(&["commander"]).listen(&listen);
    // It is killed.
    drop(start().start());
    assert!(Path::new(&path).exists());
    let server = start().start();
    reach(&path).await.expect("the server accepts");

    let in_vain = |server: tulpar_tests::Builder| {
        let (status, server) = server.start_in_vain();
        (status.code(), server.stderr.text())
    };
    let (code, said) = in_vain(start());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&listen), "{said}");
    assert!(said.contains("another server listens on it"), "{said}");
    reach(&path).await.expect("the first server still accepts");
    drop(server);

    fs::remove_file(&path).expect("it is there");
    fs::write(&path, "something else").expect("the file can be written");
    let (code, said) = in_vain(start());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a file that is no socket"), "{said}");
    assert!(Path::new(&path).exists());

    let certificate = Certificate::new();
    let (code, said) = in_vain(start().config(&certificate.config()));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no TLS on a Unix socket"), "{said}");
}

#[tokio::test]
async fn requests_and_then_an_upgrade_go_over_one_connection() {
    let server = Server::with(&["commander", "foreign"]).start();
    let mut raw = Raw::connect(server.address()).await;
    for _ in 0..3 {
        let response = Request::get("/nowhere").send_on(&mut raw).await;
        expect_error(&response, 404, "Not Found");
        let response = Request::get("/commander").send_on(&mut raw).await;
        assert_eq!(response.status, 426);
        let body = vec![b'x'; 300_000];
        let request = Request::post("/foreign/echo", body.clone()).chunked(10_000);
        assert!(request.send_on(&mut raw).await.body == body);
    }
    assert_eq!(seen_on(&mut raw).await, "127.0.0.1");
}

#[tokio::test]
async fn requests_and_an_upgrade_may_come_all_at_once() {
    let server = Server::with(&["commander"]).start();
    let mut raw = Raw::connect(server.address()).await;
    let all = [
        Raw::request("GET", "/nowhere", &[]),
        Raw::request("GET", "/commander", &[]),
        Raw::upgrade_request("/commander"),
        frame(Opcode::Text, b"hello").bytes(),
    ];
    raw.write(&all.concat()).await;
    for status in [404, 426, 101] {
        assert_eq!(raw.response().await.status, status);
    }
    assert_eq!(raw.frame().await.payload, b"hello");
    // The next one is nobody's business of before.
    connect(server.url("/commander")).await;
}
