//! Messages in several frames, and frames in several pieces: rule C8.

use tulpar_tests::{Frame, Opcode, Raw, Server, frame};

/// Text that is none from its 13th byte on: 5 characters, and the beginning of one above U+10FFFF.
const NO_TEXT: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";

async fn commander() -> (Server, Raw) {
    let server = Server::with(&["commander"]).start();
    let raw = Raw::upgraded(server.address(), "/commander").await;
    (server, raw)
}

#[tokio::test]
async fn c8_fragments_are_put_together() {
    let (_server, mut raw) = commander().await;
    raw.send(frame(Opcode::Text, b"one ").unfinished()).await;
    raw.send(frame(Opcode::Continuation, b"").unfinished())
        .await;
    raw.send(frame(Opcode::Continuation, b"two ").unfinished())
        .await;
    raw.send(frame(Opcode::Continuation, b"three")).await;
    assert_eq!(
        raw.frame().await,
        Frame::whole(Opcode::Text, b"one two three")
    );
    raw.send(frame(Opcode::Binary, b"").unfinished()).await;
    raw.send(frame(Opcode::Continuation, b"")).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Binary, b""));
}

#[tokio::test]
async fn c8_a_character_may_be_split_between_fragments() {
    let (_server, mut raw) = commander().await;
    let bytes = "ö€😀".as_bytes();
    let (last, firsts) = bytes.split_last().expect("there are bytes");
    for (index, byte) in firsts.iter().enumerate() {
        let opcode = if index == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        raw.send(frame(opcode, &[*byte]).unfinished()).await;
    }
    raw.send(frame(Opcode::Continuation, &[*last])).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Text, bytes));
}

#[tokio::test]
async fn c8_control_frames_may_come_between_fragments() {
    let (_server, mut raw) = commander().await;
    raw.send(frame(Opcode::Text, b"a").unfinished()).await;
    raw.send(frame(Opcode::Ping, b"between")).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, b"between"));
    raw.send(frame(Opcode::Pong, b"unasked")).await;
    raw.send(frame(Opcode::Continuation, b"b")).await;
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Text, b"ab"));

    raw.send(frame(Opcode::Text, b"never finished").unfinished())
        .await;
    raw.send(frame(Opcode::Close, &1000_u16.to_be_bytes()))
        .await;
    assert_eq!(raw.frame().await.close().0, 1000);
}

#[tokio::test]
async fn c8_pings_between_fragments_are_answered_in_order() {
    let (_server, mut raw) = commander().await;
    let mut bytes = frame(Opcode::Text, b"").unfinished().bytes();
    for number in b'0'..=b'9' {
        bytes.extend(frame(Opcode::Ping, &[number]).bytes());
        bytes.extend(frame(Opcode::Continuation, &[number]).unfinished().bytes());
    }
    bytes.extend(frame(Opcode::Continuation, b"").bytes());
    raw.write(&bytes).await;
    for number in b'0'..=b'9' {
        assert_eq!(raw.frame().await, Frame::whole(Opcode::Pong, &[number]));
    }
    assert_eq!(raw.frame().await, Frame::whole(Opcode::Text, b"0123456789"));
}

#[tokio::test]
async fn c8_a_message_may_have_thousands_of_fragments() {
    const COUNT: usize = 20_000;
    let (_server, mut raw) = commander().await;
    for opcode in [Opcode::Text, Opcode::Binary] {
        let mut bytes = frame(opcode, b"").unfinished().bytes();
        for _ in 0..COUNT {
            bytes.extend(
                frame(Opcode::Continuation, "ö".as_bytes())
                    .unfinished()
                    .bytes(),
            );
        }
        bytes.extend(frame(Opcode::Continuation, b"").bytes());
        raw.write(&bytes).await;
        let echoed = raw.frame().await;
        assert_eq!(echoed.first, 0x80 | opcode as u8);
        assert!(echoed.payload == "ö".repeat(COUNT).as_bytes());
    }
}

#[tokio::test]
async fn c8_what_no_client_may_send_it_may_not_send_within_a_message_either() {
    let server = Server::with(&["commander"]).start();
    let big = [b'p'; 126];
    for (what, wrong) in [
        (
            "an unmasked continuation",
            frame(Opcode::Continuation, b"b").unmasked(),
        ),
        ("RSV1", frame(Opcode::Continuation, b"b").reserved(0x40)),
        ("RSV3", frame(Opcode::Continuation, b"b").reserved(0x10)),
        (
            "an opcode that is reserved for data",
            frame(Opcode::Text, b"b").opcode(3),
        ),
        (
            "an opcode that is reserved for control",
            frame(Opcode::Text, b"b").opcode(11),
        ),
        ("a ping of 126 bytes", frame(Opcode::Ping, &big)),
        ("a fragmented ping", frame(Opcode::Ping, b"b").unfinished()),
        ("a close frame of one byte", frame(Opcode::Close, b"b")),
    ] {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.send(frame(Opcode::Text, b"a").unfinished()).await;
        raw.send(wrong).await;
        assert_eq!(raw.frame().await.close().0, 1002, "{what}");
        assert_eq!(raw.rest().await, b"", "{what}");
    }
}

/// The pieces are sent one after the other, up to the one with which it cannot be text any more; nothing else is sent
/// until the answer has come.
async fn expect_early_refusal(server: &Server, what: &str, pieces: &[&[u8]]) {
    let mut raw = Raw::upgraded(server.address(), "/commander").await;
    for piece in pieces {
        raw.write(piece).await;
        tokio::task::yield_now().await;
    }
    let (code, reason) = raw.frame().await.close();
    assert_eq!((code, reason.as_str()), (1007, "Invalid UTF-8"), "{what}");
}

#[tokio::test]
async fn c8_text_that_is_none_is_refused_before_its_end() {
    let server = Server::with(&["commander"]).start();
    let begin = |payload| frame(Opcode::Text, payload).unfinished().bytes();
    let more = |payload| frame(Opcode::Continuation, payload).unfinished().bytes();
    for (what, first, second) in [
        ("at once", &b""[..], &NO_TEXT[..13]),
        ("between characters", &NO_TEXT[..11], &NO_TEXT[11..15]),
        ("within a character", &NO_TEXT[..12], &NO_TEXT[12..13]),
    ] {
        expect_early_refusal(&server, what, &[&begin(first), &more(second)]).await;
    }

    // The same within a frame of which the rest never comes, be it a message of its own or the last of one.
    let whole = frame(Opcode::Text, NO_TEXT).bytes();
    let last = frame(Opcode::Continuation, NO_TEXT).bytes();
    let header = whole.len() - NO_TEXT.len();
    for (first, second) in [(0, 13), (11, 15), (12, 13), (5, 19)] {
        let pieces = |bytes| {
            let (first, rest) = <[u8]>::split_at(bytes, header + first);
            [first, &rest[..second - (first.len() - header)]]
        };
        let what = format!("cut at {first} and {second}");
        expect_early_refusal(&server, &what, &pieces(&whole)).await;
        let [first, second] = pieces(&last);
        expect_early_refusal(&server, &what, &[&begin(b"fine "), first, second]).await;
        expect_early_refusal(
            &server,
            &what,
            &[&begin(b"fine \xe2\x82"), &more(b"\xac"), first, second],
        )
        .await;
    }
}

#[tokio::test]
async fn c8_binary_may_be_anything_in_any_pieces() {
    let (_server, mut raw) = commander().await;
    let whole = frame(Opcode::Binary, NO_TEXT).bytes();
    let first = frame(Opcode::Binary, NO_TEXT).unfinished().bytes();
    let last = frame(Opcode::Continuation, NO_TEXT).bytes();
    for (bytes, expected) in [
        (whole, NO_TEXT.to_vec()),
        ([first, last].concat(), NO_TEXT.repeat(2)),
    ] {
        for piece in bytes.chunks(3) {
            raw.write(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.frame().await, Frame::whole(Opcode::Binary, &expected));
    }
}

#[tokio::test]
async fn c8_a_text_that_is_seen_in_pieces_is_handed_on_as_it_is() {
    let (_server, mut raw) = commander().await;
    // One that was cut within a character, and never finished, does not count for the next.
    let texts = [
        "κόσμε ö€😀 häppchen".repeat(2000),
        "€".repeat(3),
        "plain".repeat(20_000),
    ];
    for text in &texts {
        let bytes = frame(Opcode::Text, text.as_bytes()).bytes();
        for piece in bytes.chunks(bytes.len() / 7 + 1) {
            raw.write(piece).await;
            tokio::task::yield_now().await;
        }
        let echoed = raw.frame().await;
        assert!(echoed == Frame::whole(Opcode::Text, text.as_bytes()));
    }
}
