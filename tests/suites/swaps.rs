//! Code that is replaced while sockets are open: rule P6.

use std::time::{Duration, Instant};

use tulpar_tests::swap::{ask, be_of, generation, server};
use tulpar_tests::{
    Mould, Raw, Server, become_served, connect, eventually, expect_not_served, get, guest, json,
    scripted, within,
};

#[tokio::test]
async fn p6_the_next_message_is_handled_by_what_the_file_is_now_and_sockets_stay() {
    let server = server();
    let (mut one, mut two) = (
        connect(server.url("/swap")).await,
        connect(server.url("/swap")).await,
    );
    assert_eq!(
        ask(&mut one, "a").await,
        json!({ "generation": "1", "seen": 1, "text": "a" })
    );
    ask(&mut two, "a").await;
    server.drop_in("swap.wasm", &generation(2).bytes());
    be_of(&mut one, 2).await;
    // Its memory is new; both sockets are still in their room.
    let published = ask(&mut one, "publish").await;
    assert_eq!(published["generation"], "2");
    let heard = within("the other to hear", async {
        loop {
            let heard = two.recv_json().await;
            if heard.get("reloaded").is_none() {
                return heard;
            }
        }
    })
    .await;
    assert_eq!(heard, published);
}

#[tokio::test]
async fn p6_values_and_rooms_outlive_the_code() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    client
        .ask(json!({ "do": "set-data", "value": { "a": 1 } }))
        .await;
    client
        .ask(json!({ "do": "subscribe", "room": "here" }))
        .await;
    // The same code in other bytes: a custom section more.
    let mut other = guest("commander");
    other.extend_from_slice(b"\x00\x05\x04more");
    server.drop_in("commander.wasm", &other);
    eventually("a new instance", async || {
        (client.ask(json!({ "do": "seen" })).await.as_u64() < Some(3)).then_some(())
    })
    .await;
    server.log_line(&["replaced commander.wasm: generation 2"]);
    assert_eq!(client.ask(json!({ "do": "data" })).await, json!({ "a": 1 }));
    assert_eq!(client.ask(json!({ "do": "rooms" })).await, json!(["here"]));
}

#[tokio::test]
async fn p6_nothing_is_lost_repeated_or_reordered_and_nobody_is_told_to_go() {
    const CLIENTS: usize = 20;
    const SWAPS: u32 = 10;
    let server = server();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(server.url("/swap")).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let chats: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let (mut sent, mut last) = (0, 1);
                // On until the last swap has been seen: it is told of before everybody has had an answer of it.
                while !*stopped.borrow() || last < SWAPS {
                    // Some in flight at once, so that swaps come between them.
                    for number in sent..sent + 5 {
                        client.feed(number.to_string()).await;
                    }
                    client.flush().await;
                    for number in sent..sent + 5 {
                        let answer = loop {
                            let answer = client.recv_json().await;
                            if answer.get("reloaded").is_none() {
                                break answer;
                            }
                        };
                        assert_eq!(answer["text"], number.to_string());
                        let generation = answer["generation"].as_str().expect("it is text");
                        let generation: u32 = generation.parse().expect("it is a number");
                        assert!(generation >= last, "{generation} after {last}");
                        last = generation;
                    }
                    sent += 5;
                }
                (sent, last)
            })
        })
        .collect();
    for number in 2..=SWAPS {
        server.drop_in("swap.wasm", &generation(number).bytes());
        let line = format!("replaced swap.wasm: generation {number}");
        eventually("the swap", async || {
            server.stderr.with(&line).first().cloned()
        })
        .await;
    }
    stop.send_replace(true);
    for chat in chats {
        let chat = within("a client to be served by the last one", chat).await;
        let (sent, last) = chat.expect("the client was served in order");
        assert!(sent > 0);
        assert_eq!(last, SWAPS);
    }
}

#[tokio::test]
async fn p6_the_new_code_is_told_before_its_first_event_and_once() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    server.drop_in("swap.wasm", &generation(2).bytes());
    assert_eq!(
        client.recv_json().await,
        json!({ "reloaded": "2", "sockets": 1 })
    );
    client.send("b").await;
    assert_eq!(
        client.recv_json().await,
        json!({ "generation": "2", "seen": 1, "text": "b" })
    );
}

#[tokio::test]
async fn p6_a_replacement_that_does_not_take_over_leaves_the_old_one_serving() {
    for (reload, why) in [
        ("error", "told to refuse the replacement"),
        ("trap", "trapped"),
        ("loop", "longer than"),
    ] {
        let server = server();
        let mut client = connect(server.url("/swap")).await;
        ask(&mut client, "a").await;
        let bad = generation(2).set("reload", json!(reload));
        server.drop_in("swap.wasm", &bad.bytes());
        let line = server.log_line(&["refused", "swap.wasm", "could not take over"]);
        assert!(line.contains(why), "{line}");
        // The same instance as before.
        assert_eq!(
            ask(&mut client, "b").await,
            json!({ "generation": "1", "seen": 2, "text": "b" })
        );
        server.drop_in("swap.wasm", &generation(3).bytes());
        be_of(&mut client, 3).await;
    }
}

#[tokio::test]
async fn p6_a_replacement_that_does_not_load_leaves_the_old_one_serving() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    let other_path = Mould::reloaded("/taken", "2").bytes();
    let other = Mould::namespace("/taken").bytes();
    server.drop_in("other.wasm", &other);
    become_served(&server, "/taken").await;
    for (bytes, why) in [
        (b"nonsense".to_vec(), "is not WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "core module"),
        (
            generation(2).set("instead", json!("panic")).bytes(),
            "could not describe itself",
        ),
        (other_path, "other.wasm's already"),
    ] {
        server.drop_in("swap.wasm", &bytes);
        let line = server.log_line(&["refused", "swap.wasm", why]);
        assert!(line.contains("what was there before serves on"), "{line}");
        assert_eq!(ask(&mut client, "still?").await["generation"], "1");
    }
    server.drop_in("swap.wasm", &generation(3).bytes());
    be_of(&mut client, 3).await;
}

#[tokio::test]
async fn p6_a_service_is_stopped_and_its_replacement_started() {
    let service = |number: &str| Mould::service(&[("tick", "20")]).set("generation", json!(number));
    let server = Server::with(&[])
        .file("service.wasm", &service("1").bytes())
        .start();
    server.log_line(&["generation 1 runs"]);
    server.drop_in("service.wasm", &service("2").bytes());
    server.log_line(&["generation 2 runs"]);
    let lines = server.stderr.with("generation ");
    let said = |what: &str| lines.iter().position(|line| line.contains(what));
    let [stops, starts, runs] = [
        "generation 1 stops",
        "generation 2 starts",
        "generation 2 runs",
    ]
    .map(said);
    assert!(stops < starts && starts < runs, "{lines:?}");
    let after = &lines[starts.expect("it has")..];
    assert!(
        !after.iter().any(|line| line.contains("generation 1 ")),
        "{lines:?}"
    );

    // One that does not start leaves the old one working, started anew.
    server.drop_in(
        "service.wasm",
        &service("3").set("reload", json!("error")).bytes(),
    );
    server.log_line(&[
        "refused",
        "service.wasm",
        "could not be started",
        "told not to start",
    ]);
    let runs = server.stderr.with("generation 2 runs").len();
    eventually("the old one to work on", async || {
        (server.stderr.with("generation 2 runs").len() > runs).then_some(())
    })
    .await;
    server.take_out("service.wasm");
    eventually("it to stop", async || {
        (server.stderr.with("generation 2 stops").len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn p6_another_path_closes_the_sockets_of_the_old_one() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    server.drop_in("swap.wasm", &Mould::reloaded("/moved", "2").bytes());
    assert_eq!(
        client.expect_close().await,
        (1001, "The plugin was replaced".to_owned())
    );
    become_served(&server, "/moved").await;
    expect_not_served(&server, "/swap").await;
}

#[tokio::test]
async fn p6_the_old_code_says_farewell_when_the_new_one_serves_another_path() {
    let server = Server::with(&["scripted", "attach", "echo"]).start();
    let last_words = json!([{ "do": "log", "level": "info", "text": "last words" }]);
    let mut client = scripted(&server, json!({ "close": last_words })).await;
    client.ask(json!({ "do": "nothing" })).await;
    // It is no namespace any more.
    server.drop_in("scripted.wasm", &Mould::middleware("gate").bytes());
    assert_eq!(client.expect_close().await.0, 1001);
    server.log_line(&["last words"]);
    expect_not_served(&server, "/scripted").await;
}

#[tokio::test]
async fn p6_a_middleware_is_replaced_and_deleted_too() {
    let gate = |value: &str| {
        Mould::middleware("gate")
            .set("header", json!(["x-gate", value]))
            .bytes()
    };
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&[])
        .file("gate.wasm", &gate("one"))
        .file("gated.wasm", &gated.bytes())
        .start();
    let mut client = connect(server.url("/gated")).await;
    assert_eq!(client.response.header("x-gate"), Some("one"));
    server.drop_in("gate.wasm", &gate("two"));
    eventually("the new middleware", async || {
        let client = connect(server.url("/gated")).await;
        (client.response.header("x-gate") == Some("two")).then_some(())
    })
    .await;
    server.take_out("gate.wasm");
    eventually("the path to be closed", async || {
        (get(server.address(), "/gated").await.status == 404).then_some(())
    })
    .await;
    // Who is in has passed it.
    client.send("still?").await;
    assert_eq!(client.recv_text().await, "still?");
    server.drop_in("gate.wasm", &gate("three"));
    become_served(&server, "/gated").await;
}

#[tokio::test]
async fn p6_nobody_reaches_the_new_code_past_its_middlewares() {
    let gate = Mould::middleware("gate").set("header", json!(["x-gate", "passed"]));
    let server = Server::with(&[])
        .file("gate.wasm", &gate.bytes())
        .file("swap.wasm", &generation(1).bytes())
        .config("[limits]\ndeadline-ms = 4000")
        .start();
    let passes = async |gated: bool| {
        eventually("it to be so", async || {
            let client = connect(server.url("/swap")).await;
            (client.response.header("x-gate").is_some() == gated).then_some(())
        })
        .await;
    };
    passes(false).await;
    // It takes until its deadline to find out that it does not take over: long enough for somebody to look meanwhile.
    let new = generation(2)
        .set("middlewares", json!(["gate"]))
        .set("reload", json!("loop"));
    server.drop_in("swap.wasm", &new.bytes());
    passes(true).await;
    passes(false).await;
    server.log_line(&["refused", "swap.wasm", "could not take over"]);
}

#[tokio::test]
async fn p6_memory_stays_where_it_is() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    // Two sets of bytes in turn, so that nothing is compiled after the first round.
    let (one, two) = (generation(1).bytes(), generation(2).bytes());
    let mut swap = async |from: u32, to: u32| {
        for number in from..to {
            let (bytes, expected) = match number % 2 {
                0 => (&two, 2),
                _ => (&one, 1),
            };
            server.drop_in("swap.wasm", bytes);
            be_of(&mut client, expected).await;
        }
    };
    swap(2, 12).await;
    let before = server.resident_bytes();
    swap(12, 42).await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "30 swaps took {grown} bytes");
}

#[tokio::test]
async fn p6_a_swap_is_quick() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    // Once there and back, so that nothing has to be compiled afterwards.
    for number in [2, 1] {
        server.drop_in("swap.wasm", &generation(number).bytes());
        be_of(&mut client, number).await;
    }
    let begun = Instant::now();
    server.drop_in("swap.wasm", &generation(2).bytes());
    be_of(&mut client, 2).await;
    // A file that may still be written to is waited for, for ten seconds. This one is whole.
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(9), "{taken:?}");
}

#[tokio::test]
async fn p6_a_request_in_hand_ends_in_the_code_that_began_it() {
    // The request waits for as long as it takes to compile the new code.
    let server = Server::with(&["unruly"])
        .config("[limits]\nrequest-deadline-ms = 60000")
        .start();
    let mut raw = Raw::connect(server.address()).await;
    raw.write(
        b"POST /unruly/count-body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst",
    )
    .await;
    server.log_line(&["asked for /count-body"]);
    let mut other = guest("unruly");
    other.extend_from_slice(b"\x00\x05\x04more");
    server.drop_in("unruly.wasm", &other);
    server.log_line(&["replaced unruly.wasm: generation 2"]);
    // The new code answers while the old one still waits.
    let state = get(server.address(), "/unruly/state").await;
    assert_eq!(state.status, 200);
    raw.write(b" half").await;
    let response = raw.outcome("POST").await.expect("it is whole");
    assert_eq!(response.text(), "10");
}
