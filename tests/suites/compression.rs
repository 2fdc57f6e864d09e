//! Compressed messages, as RFC 7692 describes them: negotiated, bounded, and nobody's who does not want them. Part of rule
//! C8.

use tulpar_tests::{
    DEFLATE, Deflating, Frame, Opcode, RSV1, Server, connect, deflated, frame, json, next_event,
    observer, offering,
};

/// The largest message that is compressed, in bytes.
const LARGEST: usize = 256 << 10;

fn compressing(settings: &str) -> Server {
    Server::with(&["commander"])
        .config(&format!("[sockets]\ncompression = true\n{settings}"))
        .start()
}

async fn client(server: &Server, offer: &str) -> Deflating {
    Deflating::connect(server.address(), "/commander", offer).await
}

/// The same once it is among the sockets of the namespace. What it has got then is too short to be compressed.
async fn member(server: &Server, offer: &str) -> Deflating {
    let mut client = client(server, offer).await;
    client.expect_echo("here").await;
    client
}

/// A text of `len` bytes in which little is said twice.
fn text(seed: u32, len: usize) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 28) as u8)
    };
    (0..len).map(|_| letter()).collect()
}

#[tokio::test]
async fn nothing_is_agreed_on_unless_it_is_set() {
    let server = Server::with(&["commander"]).start();
    let (mut raw, response) = offering(server.address(), "/commander", &[DEFLATE]).await;
    assert_eq!(response.header("sec-websocket-extensions"), None);
    raw.send(frame(Opcode::Text, &deflated(b"hi")).reserved(RSV1))
        .await;
    assert_eq!(raw.frame().await.close().0, 1002);
}

#[tokio::test]
async fn each_namespace_has_its_own_settings() {
    let server = Server::with(&["commander", "rooms"])
        .config("[plugin.commander]\nsockets = { compression = true }")
        .start();
    let (_, response) = offering(server.address(), "/commander", &[DEFLATE]).await;
    assert_eq!(response.header("sec-websocket-extensions"), Some(DEFLATE));
    let (_, response) = offering(server.address(), "/rooms", &[DEFLATE]).await;
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn the_first_offer_that_can_be_accepted_is() {
    let small = "compression-window-bits = 11";
    let forgetful = "compression-context-takeover = false";
    let forgotten = "; server_no_context_takeover; client_no_context_takeover";
    for (settings, cases) in [
        (
            "",
            &[
                (&[DEFLATE][..], Some("")),
                (&["permessage-deflate; client_max_window_bits"], Some("")),
                (
                    &["permessage-deflate; client_max_window_bits=10; server_max_window_bits=10"],
                    Some("; server_max_window_bits=9; client_max_window_bits=10"),
                ),
                (
                    &["permessage-deflate; server_no_context_takeover;client_no_context_takeover"],
                    Some(forgotten),
                ),
                (&["permessage-deflate; server_max_window_bits=8"], None),
                (&["permessage-deflate; server_max_window_bits"], None),
                (&["permessage-deflate; mystery, permessage-bzip2"], None),
                (&["permessage-deflate; server_max_window_bits=\"9"], None),
                (
                    &[
                        "permessage-deflate; server_max_window_bits=8, permessage-bzip2;a=\",\"",
                        "permessage-deflate; server_max_window_bits=\"9\"",
                        DEFLATE,
                    ],
                    Some("; server_max_window_bits=9"),
                ),
            ][..],
        ),
        (
            small,
            &[
                (&[DEFLATE], Some("; server_max_window_bits=11")),
                (
                    &["permessage-deflate; client_max_window_bits"],
                    Some("; server_max_window_bits=11; client_max_window_bits=11"),
                ),
            ],
        ),
        (forgetful, &[(&[DEFLATE], Some(forgotten))]),
        (
            "slow-consumer = 'drop-oldest'",
            &[(&[DEFLATE], Some("; server_no_context_takeover"))],
        ),
        ("slow-consumer = 'drop-newest'", &[(&[DEFLATE], Some(""))]),
    ] {
        let server = compressing(settings);
        for (offers, answer) in cases {
            let (mut raw, response) = offering(server.address(), "/commander", offers).await;
            let expected = answer.map(|parameters| format!("{DEFLATE}{parameters}"));
            let found = response.header("sec-websocket-extensions");
            assert_eq!(found, expected.as_deref(), "{settings} {offers:?}");
            // Declined or not, it is a socket.
            raw.send(frame(Opcode::Text, b"hi")).await;
            assert_eq!(raw.frame().await, Frame::whole(Opcode::Text, b"hi"));
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_through_every_window_with_and_without_what_was_before() {
    for settings in [
        "",
        "compression-window-bits = 9",
        "compression-context-takeover = false",
    ] {
        let server = compressing(settings);
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
        ] {
            let mut client = client(&server, offer).await;
            // Two messages ago is out of reach of a window of 512 bytes.
            let forgets = client.answer.contains("server_no_context_takeover")
                || client.answer.contains("server_max_window_bits=9");
            let mut sizes = Vec::new();
            for (number, len) in [250, 300, 300, 300, 5000, 300, 100_000, 300]
                .into_iter()
                .enumerate()
            {
                let received = client.expect_echo(&text(1, len)).await;
                let size = received.compressed;
                assert_eq!(size.is_some(), len >= 256, "{number} {offer}");
                sizes.extend(size);
            }
            let again = sizes[1];
            assert_eq!(
                again * 4 < sizes[0],
                !forgets,
                "{settings} {offer} {sizes:?}"
            );
            let binary: Vec<u8> = (0..2000_u32).map(|n| n.wrapping_mul(n) as u8).collect();
            client.send(Opcode::Binary, &binary).await;
            assert!(client.recv().await.message == binary);
        }
    }
}

#[tokio::test]
async fn what_is_below_the_threshold_or_too_large_or_no_smaller_goes_as_it_is() {
    let server = compressing("compression-threshold = 100");
    let mut client = client(&server, DEFLATE).await;
    for (len, compressed) in [
        (99, false),
        (100, true),
        (LARGEST, true),
        (LARGEST + 1, false),
    ] {
        let received = client.expect_echo(&text(len as u32, len)).await;
        assert_eq!(received.compressed.is_some(), compressed, "{len}");
    }
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..1000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    // What was not compressed is not referred to either, and what was before it still is.
    let said = text(1, 300);
    let first = client.expect_echo(&said).await.compressed.unwrap();
    client.send(Opcode::Binary, &noise).await;
    let received = client.recv().await;
    assert_eq!(
        (received.message == noise, received.compressed),
        (true, None)
    );
    let again = client.expect_echo(&said).await.compressed.unwrap();
    assert!(4 * again < first, "{again} after {first}");

    let always = compressing("compression-threshold = 0");
    let mut client = self::client(&always, DEFLATE).await;
    for said in ["", "a", "hello hello hello hello"] {
        let received = client.expect_echo(said).await;
        assert_eq!(received.compressed.is_some(), said.len() > 1, "{said}");
    }
}

#[tokio::test]
async fn c8_a_compressed_message_may_come_in_fragments_and_control_frames_between() {
    let server = compressing("");
    let mut client = client(&server, DEFLATE).await;
    for (len, pieces) in [(0, 1), (10, 3), (1000, 7), (200_000, 2), (200_000, 1000)] {
        let message = text(len as u32, len);
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
    client.expect_echo(&text(10, 300)).await;
}

#[tokio::test]
async fn c8_a_compressed_message_may_come_byte_by_byte() {
    let server = compressing("");
    let mut client = client(&server, DEFLATE).await;
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
    let mut client = client(&server, DEFLATE).await;
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
        let mut raw = client(server, DEFLATE).await.raw;
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
    let whole = deflated(text(1, 1000).as_bytes());
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
    let mut client = client(&server, DEFLATE).await;
    client.expect_echo(&"x".repeat(most)).await;
    client.expect_echo(&text(1, most)).await;
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
    let message = [text(1, 2000), "x".repeat(100_000)].concat();
    let payload = deflated(message.as_bytes());
    let ratio = message.len().div_ceil(payload.len());
    let bytes = frame(Opcode::Text, &payload).reserved(RSV1).bytes();
    let server = compressing(&format!("compression-ratio = {ratio}"));
    let mut taken = client(&server, DEFLATE).await;
    taken.raw.write(&bytes).await;
    assert!(taken.recv().await.message == message.as_bytes());

    let server = compressing(&format!("compression-ratio = {}", ratio - 1));
    expect_refusals(&server, 1009, vec![("one time less", bytes)]).await;
    // Up to 64 KiB it is not asked.
    let mut small = client(&server, DEFLATE).await;
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
    let mut before = client(&server, DEFLATE).await;
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

#[tokio::test]
async fn a_broadcast_reaches_each_as_it_was_agreed_on() {
    let server = compressing("");
    let mut plain = connect(server.url("/commander")).await;
    let mut clients = Vec::new();
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=12",
    ] {
        clients.push(member(&server, offer).await);
    }
    for round in 0..5 {
        let message = text(round % 2, 2000);
        let command = json!({ "do": "broadcast", "message": message });
        plain.send(command.to_string()).await;
        assert_eq!(plain.recv_text().await, message);
        assert_eq!(plain.recv_json().await, json!({ "answer": 7 }));
        for client in &mut clients {
            let received = client.recv().await;
            assert_eq!(received.message, message.as_bytes());
            assert!(received.compressed.is_some());
            // What goes to it alone, before and after what goes to all.
            client.expect_echo(&text(9, 1000)).await;
        }
    }
}

#[tokio::test]
async fn two_sockets_get_what_is_theirs_in_order() {
    let server = compressing("");
    let mut one = member(&server, DEFLATE).await;
    let mut two = member(&server, "permessage-deflate; server_max_window_bits=9").await;
    let message = |number: u32| text(number % 3, 300 + number as usize);
    let broadcast =
        |number: u32| json!({ "do": "broadcast", "message": message(number) }).to_string();
    for number in 0..200 {
        one.send(Opcode::Text, message(number).as_bytes()).await;
        two.send(Opcode::Text, broadcast(1000 + number).as_bytes())
            .await;
    }
    for (client, own) in [(&mut one, true), (&mut two, false)] {
        let (mut echoes, mut broadcasts) = (0..200, 1000..1200);
        while !(broadcasts.is_empty() && (echoes.is_empty() || !own)) {
            let received = client.recv().await.message;
            if received.starts_with(br#"{"answer""#) {
                continue;
            }
            let next = match received.len() {
                ..1300 => echoes.next(),
                _ => broadcasts.next(),
            };
            let next = next.expect("there is another one");
            let expected = message(next);
            let (got, len) = (String::from_utf8_lossy(&received), received.len());
            assert!(
                got == expected,
                "number {next}, {len} bytes: {got:.100} and not {expected:.100}"
            );
        }
    }
}
