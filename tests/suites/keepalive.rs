//! Peers that are gone without a word are noticed, and those that are there are left alone: rule C9.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Frame, Message, Opcode, RSV1, Raw, Server, Value, compressing, connect, deflated,
    eventually, frame, json,
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

/// The bytes of a command.
fn command(command: &Value) -> Vec<u8> {
    frame(Opcode::Text, command.to_string().as_bytes()).bytes()
}

/// A peer that sends this in one write with its upgrade, in which these headers are. However long the test is held back, the
/// peer has not been silent before it begins.
async fn begin(server: &Server, headers: &[(&str, &str)], first: &[u8]) -> Raw {
    let mut all = Raw::upgrade_headers();
    all.extend(headers);
    let mut bytes = Raw::request("GET", "/commander", &all);
    bytes.extend(first);
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&bytes).await;
    let response = raw.response().await;
    assert_eq!(response.status, 101, "{response:?}");
    raw
}

/// The next frame that is no ping; none when the connection ends before.
async fn next(raw: &mut Raw) -> Option<Frame> {
    loop {
        let frame = raw.frame_or_end().await?;
        if frame != Frame::whole(Opcode::Ping, b"") {
            return Some(frame);
        }
    }
}

/// The answer to a command, behind pings perhaps; none when the connection ends before.
async fn answer(raw: &mut Raw) -> Option<Value> {
    let frame = next(raw).await?;
    let mut message: Value = serde_json::from_slice(&frame.payload).expect("it is JSON");
    Some(message["answer"].take())
}

/// Asks for the socket's id; none when the connection ends before.
async fn id(raw: &mut Raw) -> Option<String> {
    raw.write(&command(&json!({ "do": "id" }))).await;
    let id = answer(raw).await?;
    Some(id.as_str().expect("it is an id").to_owned())
}

/// The answer to a command, from a client that answers pings; none when the connection ends before.
async fn ask(client: &mut Client, command: Value) -> Option<Value> {
    client.try_send(command.to_string()).await;
    Some(text(client).await?["answer"].take())
}

async fn text(client: &mut Client) -> Option<Value> {
    loop {
        match client.recv_or_end().await? {
            Message::Ping(_) => {}
            Message::Text(text) => {
                return Some(serde_json::from_str(&text).expect("it is JSON"));
            }
            other => panic!("waited for a text, but got {other:?}"),
        }
    }
}

/// The code with which that socket closes, as an observer hears it who answers pings; none when the observer's connection
/// ends before.
async fn closed(observer: &mut Client, id: &str) -> Option<u64> {
    loop {
        let event = text(observer).await?;
        if event["event"] == "close" && event["id"] == id {
            return event["code"].as_u64();
        }
    }
}

#[tokio::test]
async fn c9_a_peer_that_does_not_answer_pings_is_dropped() {
    const PING: Duration = Duration::from_millis(300);
    const PONG: Duration = Duration::from_millis(200);
    let server = server(PING, PONG);
    let begun = Instant::now();
    let mut gone = begin(&server, &[], &command(&json!({ "do": "id" }))).await;
    let id = answer(&mut gone).await.expect("it is there still");
    let id = id.as_str().expect("it is an id");
    assert_eq!(gone.frame().await, Frame::whole(Opcode::Ping, b""));
    assert!(begun.elapsed() >= PING, "after {:?}", begun.elapsed());
    assert!(gone.rest().await.is_empty(), "it is dropped without a word");
    assert!(
        begun.elapsed() >= PING + PONG,
        "after {:?}",
        begun.elapsed()
    );
    server.log_line(&["no sign of life", id]);
    // By on-close. There is no other socket, as the test may be held back for longer than an observer may be silent.
    server.log_line(&["closed with 1006"]);
}

#[tokio::test]
async fn c9_a_peer_that_answers_pings_stays() {
    const PING: Duration = Duration::from_millis(300);
    const PONG: Duration = Duration::from_millis(4000);
    let server = server(PING, PONG);
    let begun = Instant::now();
    let mut peer = Raw::upgraded(server.address(), "/commander").await;
    // Nobody is pinged again who has not answered.
    for _ in 0..4 {
        assert_eq!(peer.frame().await, Frame::whole(Opcode::Ping, b""));
        peer.send(frame(Opcode::Pong, b"")).await;
    }
    assert!(begun.elapsed() >= 4 * PING, "after {:?}", begun.elapsed());
    peer.write(&command(&json!({ "do": "nothing" }))).await;
    assert_eq!(answer(&mut peer).await, Some(Value::Null));
}

#[tokio::test]
async fn c9_every_byte_counts_and_not_only_whole_messages() {
    const PING: Duration = Duration::from_millis(200);
    const PONG: Duration = Duration::from_millis(3500);
    let server = server(PING, PONG);
    let mut peer = Raw::upgraded(server.address(), "/commander").await;
    let message = frame(Opcode::Text, &[b'x'; 40]).bytes();
    let begun = Instant::now();
    for byte in message.chunks(1) {
        peer.write(byte).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > PING + PONG);
    // It has not answered a single ping, if there were any.
    let echo = next(&mut peer).await;
    assert_eq!(echo, Some(Frame::whole(Opcode::Text, &[b'x'; 40])));
}

#[tokio::test]
async fn c9_a_peer_whose_own_messages_are_still_worked_off_is_not_dropped() {
    const MESSAGES: usize = 2000;
    // It takes two seconds to read all of them, in which nothing else is read.
    let server = compressing(
        "[timeouts]\nping-ms = 200\npong-ms = 200\n[limits]\nsocket-messages-per-second = 1000",
    );
    let offer = "permessage-deflate; client_no_context_takeover";
    let message = deflated(b"hi");
    let message = frame(Opcode::Text, &message).reserved(RSV1).bytes();
    let mut peer = begin(
        &server,
        &[("Sec-WebSocket-Extensions", offer)],
        &message.repeat(MESSAGES),
    )
    .await;
    for echoed in 0..MESSAGES {
        let echo = next(&mut peer).await;
        assert_eq!(
            echo,
            Some(Frame::whole(Opcode::Text, b"hi")),
            "after {echoed}"
        );
    }
}

/// Sends to a socket until the operating system takes no more and what waits is more than half of what may; none when one of
/// them is gone before.
async fn fill(sender: &mut Client, id: &str) -> Option<()> {
    let buffered = json!({ "do": "buffered-amount", "on": id });
    let flood = json!({ "do": "flood", "on": id, "message": { "bytes_of": 1000 }, "at_most": 100 });
    loop {
        let waits = ask(sender, buffered.clone()).await?;
        if waits.as_u64()? >= 20_000 {
            return Some(());
        }
        ask(sender, flood.clone()).await?;
    }
}

#[tokio::test]
async fn c9_a_peer_that_takes_nothing_of_what_waits_is_dropped() {
    const PING: Duration = Duration::from_millis(400);
    const PONG: Duration = Duration::from_millis(200);
    let server = server(PING, PONG);
    // When the test is held back for longer than that, some of the sockets are rightly dropped before all is set up.
    let dropped = eventually("a deaf peer to be dropped", async || {
        let begun = Instant::now();
        let mut observer = connect(server.url("/commander")).await;
        let join = json!({ "do": "subscribe", "room": "observers" });
        assert_eq!(ask(&mut observer, join).await?, "done");
        let mut sender = connect(server.url("/commander")).await;
        let mut deaf = Raw::narrow(server.address(), "/commander").await;
        let id = id(&mut deaf).await?;
        fill(&mut sender, &id).await?;
        let code = closed(&mut observer, &id).await?;
        Some((code, begun.elapsed()))
    });
    let (code, taken) = dropped.await;
    assert_eq!(code, 1006);
    assert!(taken >= PING + PONG, "after {taken:?}");
}

#[tokio::test]
async fn c9_a_peer_that_is_held_back_stays_as_long_as_it_takes_something() {
    const PING: Duration = Duration::from_millis(200);
    const PONG: Duration = Duration::from_millis(4000);
    let server = server(PING, PONG);
    let mut sender = connect(server.url("/commander")).await;
    // The less the operating system takes for it, the sooner it takes more when some has been read.
    let mut slow = Raw::narrow(server.address(), "/commander").await;
    let id = id(&mut slow).await.expect("it is there still");
    let begun = Instant::now();
    // It is looked at only eight times while a pong may come.
    while begun.elapsed() < PING + PONG + Duration::from_millis(1500) {
        // Behind what the operating system has taken.
        fill(&mut sender, &id).await.expect("both stay");
        // No more than what is sure to wait.
        for _ in 0..10 {
            slow.frame().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = ask(&mut sender, json!({ "do": "find", "id": id })).await;
    assert_eq!(found, Some(json!(true)));
}

#[tokio::test]
async fn c9_who_waits_for_a_busy_handler_is_not_dropped_for_it() {
    const TIME: Duration = Duration::from_millis(200);
    let server = server(TIME, TIME);
    // Longer than a silent peer has, and then again: the other waits with its on-open, and with its message.
    let task = command(&json!({ "do": "busy", "ms": 600 })).repeat(2);
    let mut busy = begin(&server, &[], &task).await;
    let mut waiting = begin(&server, &[], &command(&json!({ "do": "nothing" }))).await;
    for _ in 0..2 {
        assert_eq!(answer(&mut busy).await, Some(json!("done")));
    }
    assert_eq!(answer(&mut waiting).await, Some(Value::Null));
}

#[tokio::test]
async fn c9_who_sends_more_than_it_may_is_not_dropped_while_it_waits() {
    const TIME: Duration = Duration::from_millis(200);
    let server = server_with(TIME, TIME, "socket-messages-per-second = 1");
    let numbers = ["0", "1", "2"];
    let messages = numbers.map(|it| frame(Opcode::Text, it.as_bytes()).bytes());
    let begun = Instant::now();
    let mut peer = begin(&server, &[], &messages.concat()).await;
    for number in numbers {
        let echo = next(&mut peer).await;
        assert_eq!(echo, Some(Frame::whole(Opcode::Text, number.as_bytes())));
    }
    assert!(begun.elapsed() > 2 * (TIME + TIME));
}
