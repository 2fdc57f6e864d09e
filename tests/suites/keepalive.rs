//! Peers that are gone without a word are noticed, and those that are there are left alone: rule C9.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tulpar_tests::{
    Client, Deflating, Frame, Message, Opcode, RSV1, Raw, Server, Value, compressing, connect,
    deflated, frame, json, observer, within,
};

/// A server that pings after so many milliseconds, and waits for so many more.
fn server(ping: Duration, pong: Duration) -> Server {
    server_with(ping, pong, "")
}

/// The same with another limit.
fn server_with(ping: Duration, pong: Duration, limit: &str) -> Server {
    let config = format!(
        "[timeouts]\nping-ms = {}\npong-ms = {}\n\
         [limits]\noutbox-bytes = 32768\n{limit}\n[sockets]\nslow-consumer = 'drop-newest'",
        ping.as_millis(),
        pong.as_millis()
    );
    Server::with(&["commander"]).config(&config).start()
}

/// The ids and codes of the sockets that close, as somebody hears of them who answers pings.
async fn closing(server: &Server) -> UnboundedReceiver<(String, u64)> {
    let mut observer = observer(server, "/commander").await;
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = observer.recv_or_end().await {
            let Message::Text(text) = message else {
                continue;
            };
            let event: Value = serde_json::from_str(&text).expect("it is JSON");
            if event["event"] == "close" {
                let id = event["id"].as_str().expect("it is an id").to_owned();
                let code = event["code"].as_u64().expect("it is a number");
                if tell.send((id, code)).is_err() {
                    return;
                }
            }
        }
    });
    told
}

/// The answer to a command, behind pings perhaps.
async fn ask(client: &mut Client, command: Value) -> Value {
    client.send(command.to_string()).await;
    text(client).await["answer"].take()
}

async fn text(client: &mut Client) -> Value {
    loop {
        match client.recv().await {
            Some(Message::Ping(_)) => {}
            Some(Message::Text(text)) => {
                return serde_json::from_str(&text).expect("it is JSON");
            }
            other => panic!("waited for a text, but got {other:?}"),
        }
    }
}

/// Asks for the socket's id, in the midst of everything else.
async fn id(raw: &mut Raw) -> String {
    raw.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&raw.frame().await.payload).expect("it is JSON");
    answer["answer"].as_str().expect("it is an id").to_owned()
}

#[tokio::test]
async fn c9_a_peer_that_does_not_answer_pings_is_dropped() {
    const PING: Duration = Duration::from_millis(300);
    const PONG: Duration = Duration::from_millis(200);
    let server = server(PING, PONG);
    let mut closing = closing(&server).await;
    let mut gone = Raw::upgraded(server.address(), "/commander").await;
    let begun = Instant::now();
    let id = id(&mut gone).await;
    assert_eq!(gone.frame().await, Frame::whole(Opcode::Ping, b""));
    assert!(begun.elapsed() >= PING, "after {:?}", begun.elapsed());
    assert!(gone.rest().await.is_empty(), "it is dropped without a word");
    assert!(
        begun.elapsed() >= PING + PONG,
        "after {:?}",
        begun.elapsed()
    );
    let closed = within("on-close", closing.recv()).await;
    assert_eq!(closed, Some((id, 1006)));
}

#[tokio::test]
async fn c9_a_peer_that_answers_pings_stays() {
    const TIME: Duration = Duration::from_millis(300);
    let server = server(TIME, TIME);
    let mut peer = Raw::upgraded(server.address(), "/commander").await;
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(peer.frame().await, Frame::whole(Opcode::Ping, b""));
        peer.send(frame(Opcode::Pong, b"")).await;
    }
    assert!(begun.elapsed() >= 4 * TIME, "after {:?}", begun.elapsed());
    id(&mut peer).await;
}

#[tokio::test]
async fn c9_every_byte_counts_and_not_only_whole_messages() {
    let server = server(Duration::from_millis(200), Duration::from_millis(1000));
    let mut peer = Raw::upgraded(server.address(), "/commander").await;
    let message = frame(Opcode::Text, &[b'x'; 40]).bytes();
    let begun = Instant::now();
    for byte in message.chunks(1) {
        peer.write(byte).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(3000));
    // It has not answered a single ping, if there were any.
    let mut echo = peer.frame().await;
    while echo == Frame::whole(Opcode::Ping, b"") {
        echo = peer.frame().await;
    }
    assert_eq!(echo, Frame::whole(Opcode::Text, &[b'x'; 40]));
}

#[tokio::test]
async fn c9_a_peer_whose_own_messages_are_still_worked_off_is_not_dropped() {
    const MESSAGES: usize = 2000;
    // It takes two seconds to read all of them, in which nothing else is read.
    let server = compressing(
        "[timeouts]\nping-ms = 200\npong-ms = 200\n[limits]\nsocket-messages-per-second = 1000",
    );
    let offer = "permessage-deflate; client_no_context_takeover";
    let mut peer = Deflating::commander(&server, offer).await.raw;
    let message = deflated(b"hi");
    let message = frame(Opcode::Text, &message).reserved(RSV1).bytes();
    peer.write(&message.repeat(MESSAGES)).await;
    let mut echoed = 0;
    while echoed < MESSAGES {
        match peer.frame().await {
            ping if ping == Frame::whole(Opcode::Ping, b"") => {
                peer.send(frame(Opcode::Pong, b"")).await;
            }
            echo => {
                assert_eq!(echo, Frame::whole(Opcode::Text, b"hi"), "after {echoed}");
                echoed += 1;
            }
        }
    }
}

/// Sends to a socket until the operating system takes no more and what waits is more than half of what may.
async fn fill(sender: &mut Client, id: &str) {
    let buffered = json!({ "do": "buffered-amount", "on": id });
    let flood = json!({ "do": "flood", "on": id, "message": { "bytes_of": 1000 }, "at_most": 100 });
    loop {
        let waits = ask(sender, buffered.clone()).await;
        match waits.as_u64() {
            Some(20_000..) => return,
            Some(_) => drop(ask(sender, flood.clone()).await),
            None => panic!("the socket is gone: {waits}"),
        }
    }
}

#[tokio::test]
async fn c9_a_peer_that_takes_nothing_of_what_waits_is_dropped() {
    const PING: Duration = Duration::from_millis(400);
    const PONG: Duration = Duration::from_millis(200);
    let server = server(PING, PONG);
    let mut closing = closing(&server).await;
    let mut sender = connect(server.url("/commander")).await;
    let begun = Instant::now();
    let mut deaf = Raw::narrow(server.address(), "/commander").await;
    let id = id(&mut deaf).await;
    fill(&mut sender, &id).await;
    // Whoever else is not read from meanwhile may be dropped too.
    let closed = within("the deaf one to be dropped", async {
        loop {
            match closing.recv().await {
                Some((closed, code)) if closed == id => return code,
                Some(_) => {}
                None => panic!("the observer was dropped"),
            }
        }
    });
    assert_eq!(closed.await, 1006);
    assert!(
        begun.elapsed() >= PING + PONG,
        "after {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn c9_a_peer_that_is_held_back_stays_as_long_as_it_takes_something() {
    const PING: Duration = Duration::from_millis(500);
    const PONG: Duration = Duration::from_millis(2000);
    let server = server(PING, PONG);
    let mut sender = connect(server.url("/commander")).await;
    let mut slow = Raw::upgraded(server.address(), "/commander").await;
    let id = id(&mut slow).await;
    let begun = Instant::now();
    while begun.elapsed() < 2 * (PING + PONG) {
        // Behind what the operating system has taken.
        fill(&mut sender, &id).await;
        for _ in 0..100 {
            slow.frame().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        ask(&mut sender, json!({ "do": "find", "id": id })).await,
        true
    );
}

#[tokio::test]
async fn c9_who_waits_for_a_busy_handler_is_not_dropped_for_it() {
    const TIME: Duration = Duration::from_millis(200);
    let server = server(TIME, TIME);
    let mut busy = connect(server.url("/commander")).await;
    let mut waiting = connect(server.url("/commander")).await;
    busy.send(json!({ "do": "busy", "ms": 900 }).to_string())
        .await;
    // Its handler has begun when the other's does not.
    waiting.send(json!({ "do": "nothing" }).to_string()).await;
    let answers = async { tokio::join!(text(&mut busy), text(&mut waiting)) };
    let (busy, waiting) = answers.await;
    assert_eq!(
        (&busy["answer"], &waiting["answer"]),
        (&json!("done"), &json!(null))
    );
}

#[tokio::test]
async fn c9_who_sends_more_than_it_may_is_not_dropped_while_it_waits() {
    const TIME: Duration = Duration::from_millis(200);
    let server = server_with(TIME, TIME, "socket-messages-per-second = 1");
    let mut client = connect(server.url("/commander")).await;
    let begun = Instant::now();
    for number in 0..3 {
        client.send(number.to_string()).await;
    }
    for number in 0..3 {
        assert_eq!(text(&mut client).await, number);
    }
    assert!(begun.elapsed() > 2 * (TIME + TIME));
}
