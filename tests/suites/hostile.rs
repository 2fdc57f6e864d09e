//! What plugins and clients do to harm others, and that a neighbour chats on meanwhile. The long form, under load and
//! with figures, is not for every run.

use std::time::Duration;

use tulpar_tests::{Client, Mould, Opcode, Raw, Server, connect, eventually, expect_handler_error};
use tulpar_tests::{frame, get, json, while_a_neighbour_chats};

/// A plugin that is told to do harm, and a neighbour.
fn server() -> Server {
    Server::with(&["commander", "echo"])
        .config("[limits]\ndeadline-ms = 300")
        .start()
}

async fn harm(server: &Server, command: &str) {
    let mut client = connect(server.url("/commander")).await;
    client
        .send(json!({ "do": command, "text": "boom" }).to_string())
        .await;
    expect_handler_error(&mut client).await;
}

#[tokio::test]
async fn a_plugin_that_loops_for_ever_harms_its_peer_alone() {
    let server = server();
    while_a_neighbour_chats(&server, async || harm(&server, "loop").await).await;
}

#[tokio::test]
async fn plugins_that_loop_side_by_side_leave_room_for_others() {
    // More of them than there are threads.
    let mut builder = Server::with(&["echo"]).config("[limits]\ndeadline-ms = 250");
    for tenant in 0..8 {
        builder = builder.tenant(&format!("t{tenant}"), &["commander"]);
    }
    let server = builder.start();
    while_a_neighbour_chats(&server, async || {
        let mut clients = Vec::new();
        for tenant in 0..8 {
            let mut client = connect(server.url(&format!("/t{tenant}/commander"))).await;
            client.send(json!({ "do": "loop" }).to_string()).await;
            clients.push(client);
        }
        for client in &mut clients {
            expect_handler_error(client).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_allocates_without_end_harms_its_peer_alone() {
    let server = server();
    harm(&server, "bomb").await;
    let before = server.resident_bytes();
    while_a_neighbour_chats(&server, async || {
        for _ in 0..2 {
            harm(&server, "bomb").await;
        }
    })
    .await;
    // Each bomb filled 64 MiB; what it had is given back or used again.
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "the process has grown by {grown} bytes");
}

#[tokio::test]
async fn a_plugin_that_traps_on_each_call_harms_its_peers_alone() {
    let server = server();
    while_a_neighbour_chats(&server, async || {
        for _ in 0..10 {
            harm(&server, "panic").await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_an_instance_leaves_in_memory_nobody_finds() {
    // So few that memory is used again at once.
    let server = Server::with(&[])
        .tenant("a", &["scavenger"])
        .tenant("b", &["scavenger"])
        .config("[limits]\ninstances = 2")
        .start();
    for _ in 0..5 {
        let mut hides = connect(server.url("/a/scavenger")).await;
        hides.send("hide").await;
        expect_handler_error(&mut hides).await;
        for path in ["/a/scavenger", "/b/scavenger"] {
            let mut seeks = connect(server.url(path)).await;
            seeks.send("seek").await;
            assert_eq!(seeks.recv_text().await, "0", "{path}");
            // Its memory goes too, so that the next can have it.
            seeks.send("hide").await;
            expect_handler_error(&mut seeks).await;
        }
    }
}

#[tokio::test]
async fn a_plugin_that_recurses_without_end_harms_its_peer_alone() {
    let server = server();
    while_a_neighbour_chats(&server, async || harm(&server, "recurse").await).await;
}

#[tokio::test]
async fn a_plugin_that_floods_its_own_socket_harms_it_alone() {
    let server = server();
    let before = server.resident_bytes();
    while_a_neighbour_chats(&server, async || {
        for _ in 0..2 {
            let mut deaf = Raw::upgraded(server.address(), "/commander").await;
            let flood =
                json!({ "do": "flood", "message": { "bytes_of": 100_000 }, "at_most": 1_000_000 });
            deaf.send(frame(Opcode::Text, flood.to_string().as_bytes()))
                .await;
            assert_eq!(deaf.close_frame().await, (1008, "Slow consumer".to_owned()));
        }
    })
    .await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "the process has grown by {grown} bytes");
}

#[tokio::test]
async fn a_plugin_that_floods_the_log_is_stopped_at_its_deadline() {
    let server = server();
    while_a_neighbour_chats(&server, async || {
        let mut client = connect(server.url("/commander")).await;
        let line = json!({ "do": "log", "level": "debug", "text": "x".repeat(8000) });
        let lines: Vec<_> = std::iter::repeat_n(line, 1000).collect();
        client.send(json!(lines).to_string()).await;
        // It gets through or it does not; either way the next one is served.
        client.recv().await;
    })
    .await;
    let mut next = connect(server.url("/commander")).await;
    assert_eq!(next.ask(json!({ "do": "nothing" })).await, json!(null));
}

#[tokio::test]
async fn a_peer_that_sends_faster_than_it_reads_is_held_back() {
    let server = server();
    let before = server.resident_bytes();
    let mut most = 0;
    while_a_neighbour_chats(&server, async || {
        let mut deaf = Raw::upgraded(server.address(), "/commander").await;
        let message = frame(Opcode::Binary, &[1; 60_000]).bytes();
        // Each comes back, and nobody reads it: at some point the server takes no more.
        let mut taken = 0;
        while tokio::time::timeout(Duration::from_millis(500), deaf.write(&message))
            .await
            .is_ok()
        {
            taken += message.len();
            assert!(taken < 200 << 20, "the server takes whatever comes");
        }
        most = most.max(taken);
    })
    .await;
    // Half of an outbox: it was held back for what waits for it, and not because the machine stood still each time.
    assert!(most > 512 << 10, "no more than {most} bytes were taken");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 50 << 20, "the process has grown by {grown} bytes");
}

#[tokio::test]
async fn a_client_that_announces_much_and_sends_little_costs_little() {
    let server = server();
    let before = server.resident_bytes();
    let mut clients = Vec::new();
    while_a_neighbour_chats(&server, async || {
        clients.clear();
        for _ in 0..50 {
            let mut raw = Raw::upgraded(server.address(), "/commander").await;
            raw.send(frame(Opcode::Binary, b"little").announcing(16 << 20))
                .await;
            clients.push(raw);
        }
    })
    .await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "the process has grown by {grown} bytes");
}

#[tokio::test]
async fn a_request_head_without_end_is_refused() {
    let server = server();
    while_a_neighbour_chats(&server, async || {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(b"GET /commander HTTP/1.1\r\nHost: localhost\r\n")
            .await;
        for index in 0..4000 {
            raw.write(format!("x-{index}: {}\r\n", "y".repeat(1000)).as_bytes())
                .await;
        }
        let said = String::from_utf8(raw.rest().await).expect("it is HTTP");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn nonsense_on_the_wire_ends_its_own_connection() {
    let server = server();
    // A generator of Knuth's, so that a failure can be run again.
    let mut state = 42_u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    while_a_neighbour_chats(&server, async || {
        for round in 0..40 {
            let bytes: Vec<u8> = std::iter::repeat_with(&mut noise).take(300).collect();
            let mut raw = if round % 2 == 0 {
                Raw::connect(server.address()).await
            } else {
                Raw::upgraded(server.address(), "/commander").await
            };
            raw.write(&bytes).await;
            raw.finish().await;
            raw.rest().await;
        }
    })
    .await;
    assert_eq!(get(server.address(), "/commander").await.status, 426);
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing_behind() {
    let server = server();
    let mut observer = connect(server.url("/commander")).await;
    while_a_neighbour_chats(&server, async || {
        for _ in 0..4 {
            let mut clients: Vec<Client> = Vec::new();
            for _ in 0..20 {
                let mut client = connect(server.url("/commander")).await;
                client
                    .send(json!({ "do": "subscribe", "room": "crowd" }).to_string())
                    .await;
                clients.push(client);
            }
        }
    })
    .await;
    eventually("everybody to be gone", async || {
        (observer.ask(json!({ "do": "sockets" })).await == 1).then_some(())
    })
    .await;
    assert_eq!(observer.ask(json!({ "do": "names" })).await, json!([]));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_handler_runs_costs_nobody() {
    let server = server();
    let mut observer = connect(server.url("/commander")).await;
    for _ in 0..10 {
        let mut client = connect(server.url("/commander")).await;
        client
            .send(json!({ "do": "busy", "ms": 20 }).to_string())
            .await;
        drop(client);
    }
    eventually("everybody to be gone", async || {
        (observer.ask(json!({ "do": "sockets" })).await == 1).then_some(())
    })
    .await;
    // On-open and on-close of ten, their messages, and what the observer did: one instance saw it all.
    let seen = observer.ask(json!({ "do": "seen" })).await;
    assert!(
        seen.as_u64().is_some_and(|seen| seen >= 21),
        "the instance was lost: {seen}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_during_a_middleware_costs_nobody() {
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&["echo"])
        .file("gate.wasm", &Mould::middleware("gate").bytes())
        .file("gated.wasm", &gated.bytes())
        .config("[limits]\ndeadline-ms = 300")
        .start();
    let mut leavers = 0;
    while_a_neighbour_chats(&server, async || {
        leavers += 1;
        let steps = json!([{ "do": "loop" }]).to_string();
        let mut headers = Raw::upgrade_headers();
        headers.push(("x-gate", &steps));
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Raw::request("GET", "/gated", &headers)).await;
        eventually("the middleware to be under way", async || {
            (server.stderr.with("the gate turns").len() == leavers).then_some(())
        })
        .await;
        drop(raw);
        // Who left is still waited for, to the deadline.
        connect(server.url("/gated")).await;
    })
    .await;
}
