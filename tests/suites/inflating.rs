//! Messages that clients compress (RFC 7692): taken in each form that they may have, and bounded. Part of rule C8.

use tulpar_tests::{
    DEFLATE, Deflating, Frame, Opcode, RSV1, Server, compressing, deflated, frame, letters,
    next_event, observer,
};

#[tokio::test]
async fn c8_a_compressed_message_may_come_in_fragments_and_control_frames_between() {
    let server = compressing("");
    let mut client = Deflating::commander(&server, DEFLATE).await;
    for (len, pieces) in [(0, 1), (10, 3), (1000, 7), (200_000, 2), (200_000, 1000)] {
        let message = letters(len as u32, len);
        let payload = client.compressed(message.as_bytes());
        let fragments = payload.chunks(payload.len().div_ceil(pieces).max(1));
        for (number, fragment) in fragments.enumerate() {
            let frame_of = match number {
                0 => frame(Opcode::Text, fragment).reserved(RSV1),
                _ => frame(Opcode::Continuation, fragment),
            };
            client.raw.send(frame_of.unfinished()).await;
            if number < 2 {
                client.raw.send(frame(Opcode::Ping, b"between")).await;
                assert_eq!(
                    client.raw.frame().await,
                    Frame::whole(Opcode::Pong, b"between")
                );
            }
        }
        client.raw.send(frame(Opcode::Continuation, b"")).await;
        assert!(
            client.recv().await.message == message.as_bytes(),
            "{len} {pieces}"
        );
    }
    // One that is not compressed comes between them as it is.
    client
        .raw
        .send(frame(Opcode::Text, b"as it ").unfinished())
        .await;
    client.raw.send(frame(Opcode::Continuation, b"is")).await;
    assert_eq!(
        client.raw.frame().await,
        Frame::whole(Opcode::Text, b"as it is")
    );
    client.expect_echo(&letters(10, 300)).await;
}

#[tokio::test]
async fn c8_a_compressed_message_may_come_byte_by_byte() {
    let server = compressing("");
    let mut client = Deflating::commander(&server, DEFLATE).await;
    let payload = client.compressed("häppchen".as_bytes());
    for byte in frame(Opcode::Text, &payload).reserved(RSV1).bytes() {
        client.raw.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.recv().await.message, "häppchen".as_bytes());
}

#[tokio::test]
async fn c8_a_message_that_a_compressor_has_made_longer_is_taken() {
    let server = Server::with(&["commander"])
        .config("[limits]\nmax-message-bytes = 1000\n[sockets]\ncompression = true")
        .start();
    let mut client = Deflating::commander(&server, DEFLATE).await;
    // The example of RFC 7692, section 7.2.3.3: a block that is not compressed; and one behind another that is the last.
    let stored = [&[0, 5, 0, 0xfa, 0xff][..], b"Hello", &[0]].concat();
    let ended = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    for payload in [&stored[..], &ended] {
        client
            .raw
            .send(frame(Opcode::Text, payload).reserved(RSV1))
            .await;
        assert_eq!(client.recv().await.message, b"Hello");
    }
    let most = [&[0, 0xe8, 3, 0x17, 0xfc][..], &[b'x'; 1000], &[0]].concat();
    client
        .raw
        .send(frame(Opcode::Text, &most).reserved(RSV1))
        .await;
    assert_eq!(client.recv().await.message, [b'x'; 1000]);
    // Some compressors make nothing of nothing.
    client
        .raw
        .send(frame(Opcode::Text, b"").reserved(RSV1))
        .await;
    assert_eq!(client.recv().await.message, b"");
}

/// Each sequence of bytes, sent on a connection of its own, is answered with this close code and the end of the
/// connection, and on-close hears the code.
async fn expect_refusals(server: &Server, code: u16, sequences: Vec<(&str, Vec<u8>)>) {
    let mut observer = observer(server, "/commander").await;
    for (what, bytes) in sequences {
        let mut raw = Deflating::commander(server, DEFLATE).await.raw;
        next_event(&mut observer, "open").await;
        raw.write(&bytes).await;
        assert_eq!(raw.frame().await.close().0, code, "{what}");
        assert_eq!(raw.rest().await, b"", "{what}");
        assert_eq!(
            next_event(&mut observer, "close").await["code"],
            code,
            "{what}"
        );
    }
    observer.expect_nothing().await;
}

#[tokio::test]
async fn c8_the_bit_of_compression_on_other_frames_is_1002() {
    let payload = deflated(b"hi");
    let begun = || {
        frame(Opcode::Text, &payload)
            .reserved(RSV1)
            .unfinished()
            .bytes()
    };
    let plain = || frame(Opcode::Text, b"hi").unfinished().bytes();
    let more = |bits| frame(Opcode::Continuation, &payload).reserved(bits).bytes();
    let message = |bits| frame(Opcode::Text, &payload).reserved(bits).bytes();
    let sequences = vec![
        ("a continuation", [begun(), more(RSV1)].concat()),
        (
            "a continuation of a plain message",
            [plain(), more(RSV1)].concat(),
        ),
        ("a continuation of nothing", more(RSV1)),
        ("a ping", frame(Opcode::Ping, b"hi").reserved(RSV1).bytes()),
        ("a pong", frame(Opcode::Pong, b"hi").reserved(RSV1).bytes()),
        (
            "a close frame",
            frame(Opcode::Close, b"\x03\xe8").reserved(RSV1).bytes(),
        ),
        ("RSV2", message(0x20)),
        ("RSV2 beside it", message(0x60)),
        ("RSV3 beside it", message(0x50)),
        (
            "an unknown opcode",
            frame(Opcode::Text, &payload)
                .reserved(RSV1)
                .opcode(3)
                .bytes(),
        ),
        (
            "a message inside another",
            [begun(), message(RSV1)].concat(),
        ),
    ];
    expect_refusals(&compressing(""), 1002, sequences).await;
}

#[tokio::test]
async fn c8_what_cannot_be_inflated_or_is_no_text_then_is_1007() {
    let of = |payload: &[u8]| frame(Opcode::Text, payload).reserved(RSV1).bytes();
    let whole = deflated(letters(1, 1000).as_bytes());
    let (first, rest) = whole.split_at(100);
    let mut split = frame(Opcode::Text, first)
        .reserved(RSV1)
        .unfinished()
        .bytes();
    split.extend(frame(Opcode::Continuation, &rest[1..]).bytes());
    let sequences = vec![
        ("text", of(b"not compressed at all")),
        ("a block of the kind that there is not", of(&[0xff; 20])),
        (
            "a reference to before the beginning",
            of(&[0x4b, 0x84, 0x13, 0]),
        ),
        ("one that is cut off", of(&whole[..whole.len() - 1])),
        ("one that is cut off early", of(&whole[..whole.len() / 2])),
        ("fragments between which a byte is missing", split),
        (
            "one that still has its end",
            of(&[&whole[..], &[0, 0, 0xff, 0xff]].concat()),
        ),
        ("what is not UTF-8", of(&deflated(b"valid \x80"))),
        ("what is not whole", of(&deflated(b"cut \xe2\x82"))),
    ];
    expect_refusals(&compressing(""), 1007, sequences).await;
}

#[tokio::test]
async fn c8_a_message_inflates_to_what_it_may_have_and_not_one_more() {
    let most = 100_000;
    let server = Server::with(&["commander"])
        .config(&format!(
            "[limits]\nmax-message-bytes = {most}\n[sockets]\ncompression = true\ncompression-ratio = 2000"
        ))
        .start();
    let mut client = Deflating::commander(&server, DEFLATE).await;
    client.expect_echo(&"x".repeat(most)).await;
    client.expect_echo(&letters(1, most)).await;
    let more = deflated(&vec![b'x'; most + 1]);
    let (first, rest) = more.split_at(more.len() / 2);
    let mut fragments = frame(Opcode::Text, first)
        .reserved(RSV1)
        .unfinished()
        .bytes();
    fragments.extend(frame(Opcode::Continuation, rest).bytes());
    // What is as large while still compressed is not waited for.
    let large = frame(Opcode::Text, b"")
        .reserved(RSV1)
        .announcing(most as u64 * 9 / 8 + 65);
    let sequences = vec![
        (
            "one more",
            frame(Opcode::Text, &more).reserved(RSV1).bytes(),
        ),
        ("one more in fragments", fragments),
        ("large while compressed", large.bytes()),
    ];
    expect_refusals(&server, 1009, sequences).await;
}

#[tokio::test]
async fn c8_a_message_may_inflate_so_many_times_and_not_more() {
    // Letters, and then many of the same, so that it is a little more than 50 times as large.
    let message = [letters(1, 2000), "x".repeat(100_000)].concat();
    let payload = deflated(message.as_bytes());
    let ratio = message.len().div_ceil(payload.len());
    let bytes = frame(Opcode::Text, &payload).reserved(RSV1).bytes();
    let server = compressing(&format!("compression-ratio = {ratio}"));
    let mut taken = Deflating::commander(&server, DEFLATE).await;
    taken.raw.write(&bytes).await;
    assert!(taken.recv().await.message == message.as_bytes());

    let server = compressing(&format!("compression-ratio = {}", ratio - 1));
    expect_refusals(&server, 1009, vec![("one time less", bytes)]).await;
    // Up to 64 KiB it is not asked.
    let mut small = Deflating::commander(&server, DEFLATE).await;
    small.expect_echo(&"x".repeat(64 << 10)).await;
    let more = deflated(&vec![b'x'; (64 << 10) + 1]);
    let sequences = vec![(
        "over 64 KiB",
        frame(Opcode::Text, &more).reserved(RSV1).bytes(),
    )];
    expect_refusals(&server, 1009, sequences).await;
}

#[tokio::test]
async fn c8_a_bomb_is_1009_and_takes_no_memory_to_speak_of() {
    // A GiB of zeros: each MiB of them is the same KiB.
    let mebibyte = [&deflated(&vec![0; 1 << 20])[..], &[0, 0, 0xff, 0xff]].concat();
    let bomb = mebibyte.repeat(1 << 10);
    let server = compressing("compression-ratio = 2000");
    // One that is allowed first: what is needed for that is there then.
    let mut before = Deflating::commander(&server, DEFLATE).await;
    before.expect_echo(&"x".repeat(16 << 20)).await;
    let resident = server.resident_bytes();
    let sequences = (0..5)
        .map(|_| {
            (
                "a GiB of zeros",
                frame(Opcode::Binary, &bomb).reserved(RSV1).bytes(),
            )
        })
        .collect();
    expect_refusals(&server, 1009, sequences).await;
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 64 << 20, "{grown} bytes more");
}
