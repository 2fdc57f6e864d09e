//! Messages that the server compresses, as RFC 7692 describes it: negotiated, where it makes them smaller, and for nobody
//! who does not want it.

use tulpar_tests::{
    DEFLATE, Deflating, Frame, Opcode, RSV1, Server, compressing, connect, deflated, frame, json,
    letters, offering,
};

/// The largest message that is compressed, in bytes.
const LARGEST: usize = 256 << 10;

/// A client once it is among the sockets of the namespace. What it has got then is too short to be compressed.
async fn member(server: &Server, offer: &str) -> Deflating {
    let mut client = Deflating::commander(server, offer).await;
    client.expect_echo("here").await;
    client
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
            let mut client = Deflating::commander(&server, offer).await;
            // Two messages ago is out of reach of a window of 512 bytes.
            let forgets = client.answer.contains("server_no_context_takeover")
                || client.answer.contains("server_max_window_bits=9");
            let mut sizes = Vec::new();
            for (number, len) in [250, 300, 300, 300, 5000, 300, 100_000, 300]
                .into_iter()
                .enumerate()
            {
                let received = client.expect_echo(&letters(1, len)).await;
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
    let mut client = Deflating::commander(&server, DEFLATE).await;
    for (len, compressed) in [
        (99, false),
        (100, true),
        (LARGEST, true),
        (LARGEST + 1, false),
    ] {
        let received = client.expect_echo(&letters(len as u32, len)).await;
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
    let said = letters(1, 300);
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
    let mut client = Deflating::commander(&always, DEFLATE).await;
    for said in ["", "a", "hello hello hello hello"] {
        let received = client.expect_echo(said).await;
        assert_eq!(received.compressed.is_some(), said.len() > 1, "{said}");
    }
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
        let message = letters(round % 2, 2000);
        let command = json!({ "do": "broadcast", "message": message });
        plain.send(command.to_string()).await;
        assert_eq!(plain.recv_text().await, message);
        assert_eq!(plain.recv_json().await, json!({ "answer": 7 }));
        for client in &mut clients {
            let received = client.recv().await;
            assert_eq!(received.message, message.as_bytes());
            assert!(received.compressed.is_some());
            // What goes to it alone, before and after what goes to all.
            client.expect_echo(&letters(9, 1000)).await;
        }
    }
}

#[tokio::test]
async fn two_sockets_get_what_is_theirs_in_order() {
    let server = compressing("");
    let mut one = member(&server, DEFLATE).await;
    let mut two = member(&server, "permessage-deflate; server_max_window_bits=9").await;
    let message = |number: u32| letters(number % 3, 300 + number as usize);
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
