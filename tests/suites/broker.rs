//! What the suites of clusters build on: a broker that ends, stalls and comes back, and a wire that breaks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tulpar_tests::{
    Certificate, Nats, NatsClient, Published, Wire, eventually, json, three_nats, with_tls, within,
};

const SHORT: Duration = Duration::from_millis(200);

fn published(subject: &str, payload: &str) -> Published {
    Published {
        subject: subject.to_owned(),
        payload: payload.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn a_broker_carries_and_tells_who_listens() {
    let Some(nats) = Nats::start() else { return };
    let mut listener = NatsClient::of(&nats).await;
    let mut speaker = NatsClient::of(&nats).await;
    listener.subscribe("a.*.c").await;
    assert_eq!(nats.listeners("a.b.c").await, 1);
    for other in ["a.b", "a.b.d", "a.b.c.d"] {
        assert_eq!(nats.listeners(other).await, 0, "{other}");
    }
    speaker.publish("a.b.d", b"not this").await;
    speaker.publish("a.b.c", b"this\r\none").await;
    assert_eq!(listener.next().await, published("a.b.c", "this\r\none"));
    assert_eq!(listener.so_far().await, []);
    listener.subscribe("a.>").await;
    assert_eq!(nats.listeners("a.b.c.d").await, 1);
    let told = nats.tell("/jsz").await;
    assert!(told["config"]["store_dir"].is_string(), "{told}");
}

#[tokio::test]
async fn a_broker_that_has_ended_comes_back_where_it_was() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let address = nats.address();
    for hard in [false, true] {
        match hard {
            false => nats.stop(),
            true => nats.kill(),
        }
        assert!(TcpStream::connect(address).await.is_err());
        nats.start_again();
        NatsClient::of(&nats).await.flush().await;
    }
}

#[tokio::test]
async fn a_broker_that_is_paused_answers_later() {
    let Some(nats) = Nats::start() else { return };
    let mut client = NatsClient::of(&nats).await;
    nats.pause();
    let begun = Instant::now();
    let resume = async {
        tokio::time::sleep(SHORT).await;
        nats.resume();
    };
    tokio::join!(client.flush(), resume);
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_broker_asks_for_what_it_is_told_to() {
    let lines = "max_payload: 1000\nauthorization { user: ada, password: secret }";
    let Some(nats) = Nats::with(lines) else {
        return;
    };
    let says = json!({ "user": "ada", "pass": "secret" });
    NatsClient::at(nats.address(), says).await.flush().await;
    assert_eq!(nats.tell("/varz").await["max_payload"], 1000);
    let mut raw = TcpStream::connect(nats.address())
        .await
        .expect("it accepts");
    raw.write_all(b"CONNECT {}\r\n").await.expect("it is taken");
    let mut said = String::new();
    within("the end", raw.read_to_string(&mut said))
        .await
        .expect("it is text");
    assert!(said.contains("Authorization Violation"), "{said}");
}

#[tokio::test]
async fn a_broker_with_a_certificate_shows_it() {
    let [certificate, of_clients] = [Certificate::new(), Certificate::new()];
    for of_clients in [None, Some(&of_clients)] {
        let Some(nats) = Nats::with(&with_tls(&certificate, of_clients)) else {
            return;
        };
        let mut stream = TcpStream::connect(nats.address())
            .await
            .expect("it accepts");
        // It speaks first, and then both speak TLS.
        let mut info = Vec::new();
        while !info.ends_with(b"\r\n") {
            info.push(stream.read_u8().await.expect("it says what it is"));
        }
        let mut stream = certificate.trust().encrypt(stream).await.expect("it is it");
        // Whether it lets anybody in shows when it answers.
        drop(stream.write_all(b"CONNECT {}\r\nPING\r\n").await);
        let mut answer = [0; 6];
        let answered = within("an answer", stream.read_exact(&mut answer)).await;
        assert_eq!(answered.is_ok(), of_clients.is_none());
    }
}

#[tokio::test]
async fn three_brokers_are_one_and_two_of_them_go_on() {
    let Some([first, mut second, third]) = three_nats().await else {
        return;
    };
    let mut listener = NatsClient::of(&third).await;
    listener.subscribe("a").await;
    let mut speaker = NatsClient::of(&first).await;
    for _ in 0..2 {
        // The others learn of a subscription a moment later.
        eventually("it to be heard elsewhere", async || {
            speaker.publish("a", b"x").await;
            (!listener.so_far().await.is_empty()).then_some(())
        })
        .await;
        second.kill();
    }
}

/// Somebody who sends back what comes.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    address
}

async fn through(wire: &Wire) -> TcpStream {
    TcpStream::connect(wire.address())
        .await
        .expect("a wire accepts")
}

async fn comes_back(stream: &mut TcpStream, text: &str) {
    let written = stream.write_all(text.as_bytes()).await;
    written.expect("the connection is open");
    let mut back = vec![0; text.len()];
    let read = within("it to come back", stream.read_exact(&mut back)).await;
    read.expect("the connection is open");
    assert_eq!(back, text.as_bytes());
}

async fn is_reset(stream: &mut TcpStream) {
    let read = within("a reset", stream.read(&mut [0; 100])).await;
    let error = read.expect_err("it ends out of order");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_wire_carries_and_passes_on_that_a_side_has_ended() {
    let wire = Wire::to(echo().await);
    let mut stream = through(&wire).await;
    comes_back(&mut stream, &"long".repeat(1 << 18)).await;
    stream.shutdown().await.expect("the half ends");
    let read = within("the end", stream.read(&mut [0; 1])).await;
    assert_eq!(read.expect("it ends in order"), 0);
    assert_eq!(wire.accepted(), 1);
}

#[tokio::test]
async fn a_wire_that_is_cut_resets_what_there_is_and_what_comes() {
    let wire = Wire::to(echo().await);
    let mut stream = through(&wire).await;
    comes_back(&mut stream, "a").await;
    wire.cut();
    is_reset(&mut stream).await;
    is_reset(&mut through(&wire).await).await;
    wire.restore();
    let mut stream = through(&wire).await;
    comes_back(&mut stream, "b").await;
    wire.reset();
    is_reset(&mut stream).await;
    comes_back(&mut through(&wire).await, "c").await;
}

#[tokio::test]
async fn a_wire_that_is_held_delivers_later() {
    let wire = Wire::to(echo().await);
    let mut old = through(&wire).await;
    comes_back(&mut old, "a").await;
    wire.hold();
    let begun = Instant::now();
    let mut new = through(&wire).await;
    let restore = async {
        tokio::time::sleep(SHORT).await;
        wire.restore();
    };
    tokio::join!(
        comes_back(&mut old, "b"),
        comes_back(&mut new, "c"),
        restore
    );
    assert!(begun.elapsed() >= SHORT);
    comes_back(&mut old, "d").await;
}

#[tokio::test]
async fn a_wire_that_swallows_resets_what_has_lost_something() {
    let wire = Wire::to(echo().await);
    let mut idle = through(&wire).await;
    comes_back(&mut idle, "a").await;
    let mut old = through(&wire).await;
    comes_back(&mut old, "a").await;
    wire.swallow();
    let mut new = through(&wire).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"gone").await.expect("it is taken");
        let read = tokio::time::timeout(SHORT, stream.read(&mut [0; 1])).await;
        read.expect_err("nothing comes, neither bytes nor an end");
    }
    // The wire need not have got to it yet.
    eventually("a piece and a connection to be swallowed", async || {
        (wire.swallowed() == 2).then_some(())
    })
    .await;
    wire.restore();
    is_reset(&mut old).await;
    is_reset(&mut new).await;
    comes_back(&mut idle, "b").await;
}

#[tokio::test]
async fn a_wire_can_be_late_and_slow() {
    let wire = Wire::to(echo().await);
    let mut stream = through(&wire).await;
    wire.delay(SHORT);
    let begun = Instant::now();
    comes_back(&mut stream, "a").await;
    assert!(begun.elapsed() >= 2 * SHORT, "once each way");
    wire.delay(Duration::ZERO);
    wire.slow(10_000);
    let begun = Instant::now();
    comes_back(&mut stream, &"x".repeat(2_000)).await;
    assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    wire.restore();
    comes_back(&mut stream, "b").await;
}
