//! Messages and frames as bytes, well-formed and not: rule C8, and the host's part of C9.

use tulpar_tests::{Frame, Opcode, Raw, Server, connect, frame, next_event, observer};

/// The size limit that the tests about it set.
const LIMIT: usize = 1000;

async fn commander() -> (Server, Raw) {
    let server = Server::with(&["commander"]).start();
    let raw = Raw::upgraded(server.address(), "/commander").await;
    (server, raw)
}

/// A server that takes messages of [`LIMIT`] bytes at most.
async fn limited() -> (Server, Raw) {
    let server = Server::with(&["commander"])
        .config(&format!("[limits]\nmax-message-bytes = {LIMIT}"))
        .start();
    let raw = Raw::upgraded(server.address(), "/commander").await;
    (server, raw)
}

/// Each sequence of bytes, sent on a connection of its own, is answered with this close code and the end of the
/// connection, and on-close hears the code.
async fn expect_refusals(code: u16, sequences: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    for (what, bytes) in sequences {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        next_event(&mut observer, "open").await;
        raw.write(&bytes).await;
        assert_eq!(raw.frame().await.close().0, code, "{what}");
        assert_eq!(
            raw.rest().await,
            b"",
            "{what}: nothing follows the close frame"
        );
        assert_eq!(
            next_event(&mut observer, "close").await["code"],
            code,
            "{what}"
        );
    }
    observer.expect_nothing().await;
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(Opcode::Text, payload).bytes()
}

#[tokio::test]
async fn c8_text_and_binary_of_every_length_encoding_come_back() {
    let (_server, mut raw) = commander().await;
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 200_000] {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let payload = vec![b'x'; length];
            raw.send(frame(opcode, &payload)).await;
            let echoed = raw.frame().await;
            assert_eq!(echoed.first, 0x80 | opcode as u8, "{length}");
            assert!(echoed.payload == payload, "{length}");
        }
    }
}

#[tokio::test]
async fn c8_a_frame_may_arrive_byte_by_byte() {
    let (_server, mut raw) = commander().await;
    for byte in text("häppchen".as_bytes()) {
        raw.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        raw.frame().await,
        Frame::whole(Opcode::Text, "häppchen".as_bytes())
    );
}

#[tokio::test]
async fn c8_many_frames_may_arrive_at_once() {
    let (_server, mut raw) = commander().await;
    let all: Vec<u8> = (0..500)
        .flat_map(|number| text(format!("number {number}").as_bytes()))
        .collect();
    raw.write(&all).await;
    for number in 0..500 {
        assert_eq!(
            raw.frame().await.payload,
            format!("number {number}").as_bytes()
        );
    }
}

#[tokio::test]
async fn c8_text_that_is_not_utf8_is_1007() {
    let overlong = b"\xc0\xaf";
    let surrogate = b"\xed\xa0\x80";
    let too_high = b"\xf4\x90\x80\x80";
    let sequences = [
        &b"\xff"[..],
        b"valid \x80",
        overlong,
        surrogate,
        too_high,
        b"cut \xe2\x82",
    ];
    let whole = sequences.map(|bytes| (format!("{bytes:x?}"), text(bytes)));
    let fragments = [
        [&b"cut \xe2\x82"[..], b" off"],
        [b"cut \xe2\x82", b""],
        [b"", b"\xff"],
        [b"fine", b" and \xc3"],
    ];
    let fragmented = fragments.map(|[first, last]| {
        let mut bytes = frame(Opcode::Text, first).unfinished().bytes();
        bytes.extend(frame(Opcode::Continuation, last).bytes());
        (format!("{first:x?} {last:x?}"), bytes)
    });
    let reason = frame(Opcode::Close, b"\x03\xe8\xff").bytes();
    let reason = [("a close frame's reason".to_owned(), reason)];
    expect_refusals(1007, whole.into_iter().chain(fragmented).chain(reason)).await;
}

#[tokio::test]
async fn c8_frames_that_no_client_may_send_are_1002() {
    let big = [b'x'; 126];
    let unfinished = || frame(Opcode::Text, b"a").unfinished().bytes();
    let then = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let mut sequences = vec![
        ("unmasked", frame(Opcode::Text, b"hi").unmasked().bytes()),
        (
            "an unmasked ping",
            frame(Opcode::Ping, b"hi").unmasked().bytes(),
        ),
        (
            "an unmasked close frame",
            frame(Opcode::Close, b"\x03\xe8").unmasked().bytes(),
        ),
        ("RSV1", frame(Opcode::Text, b"hi").reserved(0x40).bytes()),
        ("RSV2", frame(Opcode::Text, b"hi").reserved(0x20).bytes()),
        ("RSV3", frame(Opcode::Text, b"hi").reserved(0x10).bytes()),
        (
            "RSV1 of a ping",
            frame(Opcode::Ping, b"hi").reserved(0x40).bytes(),
        ),
        ("a ping of 126 bytes", frame(Opcode::Ping, &big).bytes()),
        ("a pong of 126 bytes", frame(Opcode::Pong, &big).bytes()),
        (
            "a close frame of 126 bytes",
            frame(Opcode::Close, &[&b"\x03\xe8"[..], &big[2..]].concat()).bytes(),
        ),
        (
            "a fragmented ping",
            frame(Opcode::Ping, b"hi").unfinished().bytes(),
        ),
        (
            "a fragmented close frame",
            frame(Opcode::Close, b"\x03\xe8").unfinished().bytes(),
        ),
        (
            "a continuation of nothing",
            frame(Opcode::Continuation, b"hi").bytes(),
        ),
        (
            "an unfinished continuation of nothing",
            frame(Opcode::Continuation, b"hi").unfinished().bytes(),
        ),
        ("text within a message", then(unfinished(), text(b"b"))),
        (
            "binary within a message",
            then(unfinished(), frame(Opcode::Binary, b"b").bytes()),
        ),
        (
            "a new fragmented message within one",
            then(unfinished(), unfinished()),
        ),
        (
            "a close frame of one byte",
            frame(Opcode::Close, b"\x03").bytes(),
        ),
    ];
    sequences.push((
        "a length of 5 in the form of 126",
        b"\x81\xfe\0\x05\0\0\0\0hello".to_vec(),
    ));
    sequences.push((
        "a length of 5 in the form of 65536",
        b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0hello".to_vec(),
    ));
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        sequences.push((
            "a reserved opcode",
            frame(Opcode::Text, b"hi").opcode(opcode).bytes(),
        ));
    }
    expect_refusals(
        1002,
        sequences
            .into_iter()
            .map(|(what, bytes)| (what.to_owned(), bytes)),
    )
    .await;
}

#[tokio::test]
async fn c8_a_length_of_more_than_63_bits_is_refused() {
    let (_server, mut raw) = commander().await;
    raw.send(frame(Opcode::Binary, b"").announcing(1 << 63))
        .await;
    let (code, _) = raw.frame().await.close();
    assert!([1002, 1009].contains(&code), "{code}");
}

#[tokio::test]
async fn c8_a_control_frame_of_125_bytes_is_taken() {
    let (_server, mut raw) = commander().await;
    raw.send(frame(Opcode::Ping, &[b'p'; 125])).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, &[b'p'; 125]));
    let close = [&4000_u16.to_be_bytes()[..], &[b'r'; 123]].concat();
    raw.send(frame(Opcode::Close, &close)).await;
    assert_eq!(raw.frame().await.close().0, 4000);
}

#[tokio::test]
async fn c8_a_close_code_that_may_not_be_sent_is_1002() {
    let codes = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16,
    ];
    let sequences = codes.map(|code| {
        (
            format!("the code {code}"),
            frame(Opcode::Close, &code.to_be_bytes()).bytes(),
        )
    });
    expect_refusals(1002, sequences).await;
}

#[tokio::test]
async fn c8_a_close_code_that_may_be_sent_is_answered_with_itself() {
    let server = Server::with(&["commander"]).start();
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999_u16,
    ] {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.send(frame(Opcode::Close, &code.to_be_bytes())).await;
        assert_eq!(raw.frame().await.close().0, code, "{code}");
        assert_eq!(raw.rest().await, b"");
    }
    let mut raw = Raw::upgraded(server.address(), "/commander").await;
    raw.send(frame(Opcode::Close, b"")).await;
    let answer = raw.frame().await;
    assert_eq!(
        (answer.first, answer.payload.len() % 2),
        (0x88, 0),
        "an answer without a code or with 1000"
    );
}

#[tokio::test]
async fn c8_frames_after_a_close_frame_are_not_heard() {
    let (server, mut raw) = commander().await;
    let mut other = connect(server.url("/commander")).await;
    // It is in the namespace now, and would hear.
    other.expect_nothing().await;
    let mut bytes = frame(Opcode::Close, &1000_u16.to_be_bytes()).bytes();
    bytes.extend(text(br#"{"do":"broadcast","message":"from beyond"}"#));
    bytes.extend(frame(Opcode::Ping, b"from beyond").bytes());
    raw.write(&bytes).await;
    assert_eq!(raw.frame().await.close().0, 1000);
    assert_eq!(raw.rest().await, b"");
    other.expect_nothing().await;
}

#[tokio::test]
async fn c8_what_came_before_a_frame_that_is_refused_is_answered() {
    let (_server, mut raw) = commander().await;
    let mut bytes = text(b"before");
    bytes.extend(frame(Opcode::Ping, b"before").bytes());
    bytes.extend(frame(Opcode::Text, b"hi").reserved(0x40).bytes());
    bytes.extend(text(b"behind"));
    bytes.extend(frame(Opcode::Ping, b"behind").bytes());
    raw.write(&bytes).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Text, b"before"));
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, b"before"));
    assert_eq!(raw.frame().await.close().0, 1002);
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn c8_the_reason_of_a_close_frame_is_text_of_123_bytes_at_most() {
    let server = Server::with(&["commander"]).start();
    let mut observer = observer(&server, "/commander").await;
    let longest = "ö€😀 ".repeat(12) + "...";
    for reason in ["", "bye", longest.as_str()] {
        assert!(reason.len() <= 123);
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        next_event(&mut observer, "open").await;
        let close = [&1000_u16.to_be_bytes()[..], reason.as_bytes()].concat();
        raw.send(frame(Opcode::Close, &close)).await;
        assert_eq!(raw.frame().await.close().0, 1000);
        let event = next_event(&mut observer, "close").await;
        assert_eq!(event["reason"], reason);
    }
}

#[tokio::test]
async fn c8_a_message_of_exactly_the_limit_is_taken() {
    let (_server, mut raw) = limited().await;
    for opcode in [Opcode::Text, Opcode::Binary] {
        raw.send(frame(opcode, &[b'x'; LIMIT])).await;
        assert_eq!(raw.frame().await, Frame::whole(opcode, &[b'x'; LIMIT]));
        raw.send(frame(opcode, &[b'x'; LIMIT - 1]).unfinished())
            .await;
        raw.send(frame(Opcode::Continuation, b"x")).await;
        assert_eq!(raw.frame().await, Frame::whole(opcode, &[b'x'; LIMIT]));
    }
}

#[tokio::test]
async fn c8_a_message_over_the_limit_is_1009_as_soon_as_its_size_is_known() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let (_server, mut raw) = limited().await;
        // The header alone: none of the announced bytes is ever sent.
        raw.send(frame(opcode, b"").announcing(LIMIT as u64 + 1))
            .await;
        assert_eq!(raw.frame().await.close().0, 1009);
    }
}

#[tokio::test]
async fn c8_a_message_over_the_limit_is_1009_across_fragments_too() {
    let (_server, mut raw) = limited().await;
    raw.send(frame(Opcode::Binary, &[b'x'; LIMIT]).unfinished())
        .await;
    raw.send(frame(Opcode::Continuation, b"").unfinished())
        .await;
    raw.send(frame(Opcode::Continuation, b"").announcing(1))
        .await;
    assert_eq!(raw.frame().await.close().0, 1009);

    let (server, mut raw) = limited().await;
    let mut observer = observer(&server, "/commander").await;
    raw.send(frame(Opcode::Text, b"").unfinished()).await;
    raw.send(frame(Opcode::Continuation, &[b'x'; LIMIT + 1]))
        .await;
    assert_eq!(raw.frame().await.close().0, 1009);
    assert_eq!(next_event(&mut observer, "close").await["code"], 1009);
}

#[tokio::test]
async fn c8_the_default_limit_is_16_mib() {
    const DEFAULT: usize = 16 << 20;
    let (_server, mut raw) = commander().await;
    // A short command that is blown up with blanks: the answer to it is short too.
    let mut command = br#"{"do":"nothing"}"#.to_vec();
    command.resize(DEFAULT, b' ');
    raw.send(frame(Opcode::Text, &command)).await;
    assert_eq!(raw.frame().await.payload, br#"{"answer":null}"#);
    raw.send(frame(Opcode::Text, b"").announcing(DEFAULT as u64 + 1))
        .await;
    assert_eq!(raw.frame().await.close().0, 1009);
}

#[tokio::test]
async fn c9_pings_are_answered_in_order_with_their_payload() {
    let (_server, mut raw) = commander().await;
    for payload in [&b""[..], b"1", b"\x00\xff binary"] {
        raw.send(frame(Opcode::Ping, payload)).await;
        assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, payload));
    }
}

#[tokio::test]
async fn c9_many_pings_at_once_are_answered_all() {
    let (_server, mut raw) = commander().await;
    let pings: Vec<_> = (0..100)
        .flat_map(|number: u32| frame(Opcode::Ping, &number.to_be_bytes()).bytes())
        .collect();
    raw.write(&pings).await;
    for number in 0..100_u32 {
        let pong = Frame::whole(Opcode::Pong, &number.to_be_bytes());
        assert_eq!(raw.frame().await, pong);
    }
}

#[tokio::test]
async fn c9_pongs_that_nobody_asked_for_are_left_aside() {
    let (_server, mut raw) = commander().await;
    for payload in [&b""[..], b"unasked", &[0xff; 125]] {
        raw.send(frame(Opcode::Pong, payload)).await;
    }
    raw.send(frame(Opcode::Ping, b"asked")).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, b"asked"));
}
