//! Encrypted connections: all that holds for others holds for them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls::HandshakeKind;
use tulpar_tests::{
    Certificate, Client, Connect, Frame, Opcode, PATIENCE, Raw, Request, Server, Signal, Trust,
    Value, ask, eventually, expect_text, frame, json, next_event,
};

fn server(plugins: &[&str], certificate: &Certificate, config: &str) -> Server {
    let config = format!("{}{config}", certificate.config());
    Server::with(plugins).config(&config).start()
}

async fn connect(server: &Server, trust: &Trust, path: &str) -> Client {
    let stream = trust.connect(server.address()).await;
    Connect::to(server.url(path)).open_over(stream).await
}

async fn upgraded(server: &Server, trust: &Trust, path: &str) -> Raw {
    let mut raw = Raw::encrypted(trust.connect(server.address()).await);
    raw.upgrade(path).await;
    raw
}

#[tokio::test]
async fn messages_of_all_sizes_are_echoed() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let mut client = connect(&server, &certificate.trust(), "/echo").await;
    let mut sizes = vec![0, 1, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536];
    sizes.extend([65_537, 1 << 20, 5_000_000]);
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        client.send_bytes(bytes.clone()).await;
        assert!(client.recv_bytes().await == bytes, "{size}");
    }
}

#[tokio::test]
async fn a_thousand_messages_at_once_come_back_in_order() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let mut client = connect(&server, &certificate.trust(), "/echo").await;
    for number in 0..1_000 {
        client.feed(format!("{number}")).await;
    }
    client.flush().await;
    for number in 0..1_000 {
        assert_eq!(client.recv_text().await, format!("{number}"));
    }
}

#[tokio::test]
async fn r7_an_encrypted_peer_that_does_not_read_is_closed_and_delays_nobody() {
    const OUTBOX: usize = 64 << 10;
    // No multiple of anything, so that a record holds the last one in part.
    const BYTES: usize = 9_973;
    let certificate = Certificate::new();
    // The deaf peer has all the time to read to the end.
    let config = format!("[limits]\noutbox-bytes = {OUTBOX}\n[timeouts]\nclose-ms = 60000");
    let server = server(&["commander"], &certificate, &config);
    let trust = certificate.trust();
    let mut sender = connect(&server, &trust, "/commander").await;
    let mut member = connect(&server, &trust, "/commander").await;
    let mut deaf = upgraded(&server, &trust, "/commander").await;
    let join = json!({ "do": "subscribe", "room": "red" });
    member.ask(join).await;
    deaf.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&deaf.frame().await.payload).expect("it is JSON");

    let publish = json!({ "do": "publish", "room": "red", "message": { "bytes_of": BYTES } });
    let send = json!({ "do": "send", "on": answer["answer"], "message": { "bytes_of": BYTES } });
    let mut sent = 0;
    while sender.ask(send.clone()).await == "done" {
        sent += 1;
        assert!(sent < 20_000, "the deaf peer is never closed");
        assert_eq!(sender.ask(publish.clone()).await, 1);
        assert!(member.recv_bytes().await == [7; BYTES]);
    }

    // Once it reads, it finds what had left, whole and in order, and then why nothing follows.
    let mut found = 0;
    let close = loop {
        let next = deaf.frame().await;
        if next.first != Frame::whole(Opcode::Binary, &[]).first {
            break next.close();
        }
        assert!(next.payload == [7; BYTES]);
        found += 1;
    };
    assert!((1..=sent).contains(&found), "{found} of {sent}");
    assert_eq!((close.0, close.1.as_str()), (1008, "Slow consumer"));
}

#[tokio::test]
async fn a_peer_that_sends_much_before_it_reads_gets_all_of_it() {
    const MESSAGES: usize = 200;
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let mut stream = certificate.trust().connect(server.address()).await;
    let request = Raw::upgrade_request("/echo");
    stream.write_all(&request).await.expect("it is taken");
    let (from, mut to) = tokio::io::split(stream);
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let message = frame(Opcode::Binary, &bytes).bytes();
    // It is held back: nobody reads what comes back until nothing more is taken.
    let (full, is_full) = tokio::sync::oneshot::channel::<()>();
    let sending = tokio::spawn(async move {
        let mut full = Some(full);
        for _ in 0..MESSAGES {
            let sent = to.write_all(&message);
            tokio::pin!(sent);
            let moment = Duration::from_millis(300);
            if full.is_some() && tokio::time::timeout(moment, &mut sent).await.is_err() {
                drop(full.take());
            }
            if full.is_none() {
                sent.await.expect("it is taken");
            }
        }
        to
    });
    drop(is_full.await);
    let mut from = Raw::from(tokio::io::join(from, tokio::io::sink()));
    assert_eq!(from.response().await.status, 101);
    for number in 0..MESSAGES {
        assert!(from.frame().await.payload == bytes, "{number}");
    }
    drop(sending.await.expect("everything is sent"));
}

#[tokio::test]
async fn c3_the_end_of_an_encrypted_connection_is_told_apart() {
    let certificate = Certificate::new();
    let server = server(&["commander"], &certificate, "");
    let trust = certificate.trust();
    let mut observer = connect(&server, &trust, "/commander").await;
    let join = json!({ "do": "subscribe", "room": "observers" });
    observer.ask(join).await;

    let mut client = connect(&server, &trust, "/commander").await;
    client.close(4000, "enough").await;
    assert_eq!(client.expect_close().await.0, 4000);
    let event = next_event(&mut observer, "close").await;
    assert_eq!(
        (&event["code"], &event["reason"]),
        (&json!(4000), &json!("enough"))
    );

    // The session ends, the WebSocket does not.
    let mut raw = upgraded(&server, &trust, "/commander").await;
    raw.finish().await;
    assert_eq!(next_event(&mut observer, "close").await["code"], 1006);

    // Not even that.
    drop(connect(&server, &trust, "/commander").await);
    assert_eq!(next_event(&mut observer, "close").await["code"], 1006);

    // What is no record any more.
    let mut stream = trust.connect(server.address()).await;
    let request = Raw::upgrade_request("/commander");
    stream.write_all(&request).await.expect("it is taken");
    next_event(&mut observer, "open").await;
    let tcp = stream.get_mut().0;
    tcp.write_all(&[0; 100]).await.expect("it is taken");
    assert_eq!(next_event(&mut observer, "close").await["code"], 1006);
}

#[tokio::test]
async fn v1_encrypted_sockets_are_closed_with_1001_when_the_server_stops() {
    let certificate = Certificate::new();
    let mut server = server(&["echo"], &certificate, "");
    let mut client = connect(&server, &certificate.trust(), "/echo").await;
    server.signal(Signal::TERM);
    assert_eq!(client.expect_close().await.0, 1001);
    assert!(server.wait_exit(PATIENCE).success());
}

#[tokio::test]
async fn a_controller_is_told_that_the_request_came_encrypted() {
    let certificate = Certificate::new();
    let encrypted = server(&["unruly"], &certificate, "");
    let mut raw = Raw::from(certificate.trust().connect(encrypted.address()).await);
    for _ in 0..3 {
        let response = Request::get("/unruly/scheme").send_on(&mut raw).await;
        expect_text(&response, 200, "Some(Scheme::Https)");
    }
    let plain = Server::with(&["unruly"]).start();
    expect_text(
        &ask(&plain, "/unruly/scheme").await,
        200,
        "Some(Scheme::Http)",
    );
}

#[tokio::test]
async fn http_1_1_is_the_only_protocol() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let trust = certificate.trust();
    let stream = trust
        .offering(&["h2", "http/1.1"])
        .connect(server.address())
        .await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = trust.offering(&["h2"]).try_connect(server.address()).await;
    let error = refused.expect_err("there is no HTTP/2").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn plain_http_is_hung_up_on() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    for request in [
        Raw::upgrade_request("/echo"),
        Raw::request("GET", "/", &[]),
        b"\r\n\r\n\r\n".to_vec(),
        vec![0; 100],
    ] {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&request).await;
        let rest = raw.rest().await;
        // An alert at most.
        assert!(rest.len() < 10, "{}", String::from_utf8_lossy(&rest));
    }
    connect(&server, &certificate.trust(), "/echo").await;
}

#[tokio::test]
async fn a_handshake_that_stands_still_is_hung_up_on() {
    let certificate = Certificate::new();
    let config = "[timeouts]\nhandshake-ms = 300";
    let server = server(&["echo"], &certificate, config);
    let trust = certificate.trust();
    // A busy machine may need more time for a handshake than there is.
    let in_time = async || trust.try_connect(server.address()).await.ok();
    let mut open = eventually("a socket in time", async || {
        let opened = Connect::to(server.url("/echo")).open_over(in_time().await?);
        // In a task of its own, as it panics when it is hung up on.
        tokio::spawn(opened).await.ok()
    })
    .await;
    // Nothing, and the beginning of a ClientHello of which nothing more comes.
    for begun in [&[][..], &[22, 3, 1, 2, 0, 1]] {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(begun).await;
        assert_eq!(raw.rest().await, b"");
    }
    server.log_line(&["dropped: the handshake takes too long"]);
    // The handshake, and then no request.
    let mut silent = Raw::encrypted(eventually("a handshake in time", in_time).await);
    silent.rest().await;
    // What is open stays so.
    open.send("still there?").await;
    assert_eq!(open.recv_text().await, "still there?");
}

#[tokio::test]
async fn who_comes_again_need_not_do_the_whole_handshake() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let trust = certificate.trust();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = trust.connect(server.address()).await;
        kinds.push(stream.get_ref().1.handshake_kind());
        let mut client = Connect::to(server.url("/echo")).open_over(stream).await;
        client.send("hello").await;
        client.recv_text().await;
    }
    let full = HandshakeKind::FullWithHelloRetryRequest;
    assert!(
        kinds[0] == Some(HandshakeKind::Full) || kinds[0] == Some(full),
        "{kinds:?}"
    );
    assert_eq!(kinds[1], Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_used_for_new_connections() {
    let mut certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let mut open = connect(&server, &certificate.trust(), "/echo").await;
    for round in 0..2 {
        certificate.replace();
        eventually("the new certificate to be used", async || {
            let stream = certificate.trust().try_connect(server.address()).await;
            stream.ok()
        })
        .await;
        connect(&server, &certificate.trust(), "/echo").await;
        let text = format!("after {round}");
        open.send(text.as_str()).await;
        assert_eq!(open.recv_text().await, text);
    }
}

#[tokio::test]
async fn a_new_certificate_that_cannot_be_used_is_left_aside() {
    let mut certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let trust = certificate.trust();
    let [chain, key] = certificate.files();
    let other = Certificate::new();
    let file = |path: &Path| path.display().to_string();
    let old_stays = "new connections get the certificate from before";

    fs::write(&chain, "nothing").expect("the file can be written");
    server.log_line(&["WARN", &file(&chain), "holds no certificate", old_stays]);
    connect(&server, &trust, "/echo").await;

    fs::copy(&other.files()[0], &chain).expect("the file can be written");
    server.log_line(&["WARN", &file(&key), "does not belong to", old_stays]);
    connect(&server, &trust, "/echo").await;

    fs::remove_file(&key).expect("the file can be removed");
    server.log_line(&["WARN", "cannot read", &file(&key), old_stays]);
    connect(&server, &trust, "/echo").await;

    certificate.replace();
    eventually("the new certificate to be used", async || {
        let stream = certificate.trust().try_connect(server.address()).await;
        stream.ok()
    })
    .await;
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_at_the_start() {
    let certificate = Certificate::new();
    let [chain, key] = certificate.files();
    let other = Certificate::new();
    let in_vain = |config: &str| {
        let (status, server) = Server::with(&[]).config(config).start_in_vain();
        (status.code(), server.stderr.text())
    };
    let both = |chain: &Path, key: &Path| {
        in_vain(&format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}",
            chain.display().to_string(),
            key.display().to_string()
        ))
    };
    let nowhere = Path::new("/nowhere/certificate.pem");
    for ((code, said), why) in [
        (both(nowhere, &key), "cannot read /nowhere/certificate.pem"),
        (both(&key, &key), "holds no certificate"),
        (both(&chain, &chain), "holds no private key"),
        (both(&chain, &other.files()[1]), "does not belong to"),
    ] {
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let (code, said) = in_vain(&format!("[tls]\ncertificate = {chain:?}"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`tls.certificate` needs `tls.key`"), "{said}");
}

#[tokio::test]
async fn requests_and_then_an_upgrade_go_over_one_encrypted_connection() {
    let certificate = Certificate::new();
    let server = server(&["commander", "foreign"], &certificate, "");
    let mut raw = Raw::from(certificate.trust().connect(server.address()).await);
    let body = vec![b'x'; 300_000];
    for _ in 0..3 {
        let request = Request::post("/foreign/echo", body.clone());
        assert!(request.send_on(&mut raw).await.body == body);
    }
    raw.upgrade("/commander").await;
    raw.send(frame(Opcode::Text, br#"{"do":"remote-address"}"#))
        .await;
    let answer: Value = serde_json::from_slice(&raw.frame().await.payload).expect("it is JSON");
    assert_eq!(answer["answer"], "127.0.0.1");
}

#[tokio::test]
async fn frames_behind_the_request_are_not_lost() {
    let certificate = Certificate::new();
    let server = server(&["echo"], &certificate, "");
    let mut raw = Raw::from(certificate.trust().connect(server.address()).await);
    let mut all = Raw::upgrade_request("/echo");
    for number in 0..100 {
        all.extend(frame(Opcode::Text, format!("{number}").as_bytes()).bytes());
    }
    // All in one record.
    raw.write(&all).await;
    assert_eq!(raw.response().await.status, 101);
    for number in 0..100 {
        assert_eq!(raw.frame().await.payload, format!("{number}").as_bytes());
    }
}
