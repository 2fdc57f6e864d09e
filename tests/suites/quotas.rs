//! What tenants may use of what they share: the quotas, the limits that stand in other limits' place, and their
//! inheritance.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Connect, Frame, Opcode, PATIENCE, Raw, Request, Server, Signal, connect, eventually,
    expect_echo, expect_handler_error, frame, get, json, within,
};

/// The commander for two tenants and for the root folder.
fn server(config: &str) -> Server {
    Server::with(&["commander"])
        .tenant("acme", &["commander", "echo"])
        .tenant("other", &["commander"])
        .config(config)
        .start()
}

async fn open(server: &Server, path: &str) -> Option<Client> {
    Connect::to(server.url(path)).attempt().await.ok()
}

#[tokio::test]
async fn a_tenant_has_as_many_connections_as_allowed_and_not_one_more() {
    let server = server("[quotas]\nconnections = 2");
    let one = connect(server.url("/acme/commander")).await;
    // All of its plugins together.
    let _two = connect(server.url("/acme/echo")).await;
    let refused = Connect::to(server.url("/acme/echo")).refused().await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Neither another tenant nor the operator's own plugins feel that.
    expect_echo(&server, "/other/commander").await;
    let mut many = Vec::new();
    for _ in 0..5 {
        many.push(connect(server.url("/commander")).await);
    }
    drop(one);
    eventually("a place to be free", async || {
        open(&server, "/acme/commander").await
    })
    .await;
}

#[tokio::test]
async fn quotas_of_one_tenant_and_of_one_plugin_stand_over_those_of_all() {
    let server = server(
        "[quotas]\nconnections = 1\n[tenant.acme]\nquotas = { connections = 3 }\n\
         [plugin.\"acme/echo\"]\nquotas = { connections = 1 }\n\
         [tenant.\"@root\"]\nquotas = { connections = 1 }",
    );
    let mut held = Vec::new();
    for (path, allowed) in [
        ("/other/commander", 1),
        ("/acme/echo", 1),
        ("/acme/commander", 2),
        ("/commander", 1),
    ] {
        for _ in 0..allowed {
            held.push(connect(server.url(path)).await);
        }
        let refused = Connect::to(server.url(path)).refused().await;
        assert_eq!(refused.status, 503, "{path}");
    }
}

#[tokio::test]
async fn a_tenant_has_as_many_rooms_as_allowed_and_not_one_more() {
    let server = server("[quotas]\nrooms = 2");
    let mut client = connect(server.url("/acme/commander")).await;
    let join = async |client: &mut Client, room: &str| {
        client.ask(json!({ "do": "subscribe", "room": room })).await
    };
    assert_eq!(join(&mut client, "a").await, "done");
    assert_eq!(join(&mut client, "b").await, "done");
    let third = join(&mut client, "c").await;
    assert_eq!(third, json!({ "error": "limit-exceeded" }));
    assert_eq!(join(&mut client, "a").await, "done");
    let leave = json!({ "do": "unsubscribe", "room": "a" });
    client.ask(leave).await;
    assert_eq!(join(&mut client, "c").await, "done");
    // What leaves with its socket is free again.
    drop(client);
    let mut next = connect(server.url("/acme/commander")).await;
    eventually("the rooms to be free", async || {
        (join(&mut next, "d").await == "done").then_some(())
    })
    .await;
    let mut other = connect(server.url("/other/commander")).await;
    assert_eq!(join(&mut other, "a").await, "done");
}

#[tokio::test]
async fn a_tenants_memory_is_bounded_for_all_of_its_instances_together() {
    let server = server("[tenant.acme]\nquotas = { memory-bytes = 20000000 }");
    let bomb = json!({ "do": "bomb" }).to_string();
    let mut client = connect(server.url("/acme/commander")).await;
    client.send(bomb.as_str()).await;
    expect_handler_error(&mut client).await;
    // It is given back with the instance.
    expect_echo(&server, "/acme/commander").await;
    expect_echo(&server, "/acme/echo").await;
}

#[tokio::test]
async fn a_tenant_has_as_many_instances_as_allowed() {
    let server = server("[tenant.acme]\nquotas = { instances = 1 }");
    expect_echo(&server, "/acme/commander").await;
    // The commander has the one that there may be.
    let mut client = connect(server.url("/acme/echo")).await;
    expect_handler_error(&mut client).await;
    server.log_line(&["quotas.instances", "acme/echo.wasm"]);
    expect_echo(&server, "/other/commander").await;
}

#[tokio::test]
async fn clients_that_send_more_than_their_tenant_may_receive_are_held_back() {
    let server = server("[tenant.acme]\nquotas = { messages-per-second = 50 }");
    let mut client = connect(server.url("/acme/echo")).await;
    let begun = Instant::now();
    // A tenth of a second's worth comes at once.
    for number in 0..55 {
        client.feed(number.to_string()).await;
    }
    client.flush().await;
    for number in 0..55 {
        assert_eq!(client.recv_text().await, number.to_string());
    }
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(900), "{taken:?}");
    let before = server.metric("tulpar_held_back_total");
    let mut other = connect(server.url("/other/commander")).await;
    for number in 0..100 {
        other.send(number.to_string()).await;
        other.recv_text().await;
    }
    assert_eq!(server.metric("tulpar_held_back_total"), before);
}

#[tokio::test]
async fn v1_sockets_that_wait_for_their_tenant_end_at_once_when_the_server_stops() {
    const FLOODING: usize = 200;
    let mut server = server(
        "[tenant.acme]\nquotas = { messages-per-second = 10 }\n[timeouts]\ngrace-ms = 12000\nclose-ms = 500",
    );
    let mut flooding = Vec::new();
    let messages = frame(Opcode::Text, b"x").bytes().repeat(50);
    for _ in 0..FLOODING {
        let mut raw = Raw::upgraded(server.address(), "/acme/echo").await;
        raw.write(&messages).await;
        flooding.push(raw);
    }
    eventually("all but the first to wait", async || {
        let waiting = server.metric("tulpar_held_back_total");
        (waiting >= FLOODING as u64 - 5).then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    // The last in line would get what it waits for after twenty seconds, and there are twelve.
    for mut raw in flooding {
        assert_eq!(raw.close_frame().await.0, 1001);
    }
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v2_messages_that_are_half_there_are_bounded_for_a_tenant_and_for_the_whole_server() {
    let half = vec![b'x'; 1_000_000];
    for (config, path, others) in [
        ("[quotas]", "/acme/echo", "/other/commander"),
        ("[limits]", "/commander", "/acme/echo"),
    ] {
        let server = server(&format!("{config}\nreceiving-bytes = 1500000"));
        let open = async || Raw::upgraded(server.address(), path).await;
        let mut first = open().await;
        first.send(frame(Opcode::Text, &half).unfinished()).await;
        first.send(frame(Opcode::Ping, b"")).await;
        assert_eq!(first.frame().await, Frame::whole(Opcode::Pong, b""));

        let mut second = open().await;
        second.send(frame(Opcode::Text, &half).unfinished()).await;
        assert_eq!(second.close_frame().await.0, 1013, "{config}");
        let lost = server.metric("tulpar_sockets_lost_total{reason=\"receiving\"}");
        assert_eq!(lost, 1, "{config}");
        // Small ones need no such room.
        expect_echo(&server, path).await;
        expect_echo(&server, others).await;

        // What the one that is there takes is free again when it is done with, and when its socket ends.
        first.send(frame(Opcode::Continuation, b"")).await;
        assert!(first.frame().await == Frame::whole(Opcode::Text, &half));
        for _ in 0..3 {
            let mut next = eventually("room for another", async || {
                let mut next = open().await;
                next.send(frame(Opcode::Text, &half).unfinished()).await;
                next.send(frame(Opcode::Ping, b"")).await;
                (next.frame().await == Frame::whole(Opcode::Pong, b"")).then_some(next)
            })
            .await;
            next.finish().await;
        }
    }
}

#[tokio::test]
async fn a_tenant_sends_as_much_as_it_may_in_a_second() {
    let server = server("[tenant.acme]\nquotas = { deliveries-per-second = 100 }");
    let mut client = connect(server.url("/acme/commander")).await;
    let flood = json!({ "do": "flood", "message": "x", "at_most": 1000 });
    client.send(flood.to_string()).await;
    let once_more = json!({ "do": "send", "message": "y" }).to_string();
    let (mut received, moment) = (0, Duration::from_millis(300));
    within("more to be sent again", async {
        loop {
            let text = tokio::time::timeout(moment, client.recv_text()).await;
            match text.as_deref() {
                Ok("x") => received += 1,
                Ok("y") => break,
                Ok(_) => {}
                // It is for a moment, which on a busy machine may not have begun yet.
                Err(_) => client.send(once_more.as_str()).await,
            }
        }
    })
    .await;
    // A tenth of a second's worth at once, and what a busy machine took its time for.
    assert!((10..100).contains(&received), "{received}");
}

#[tokio::test]
async fn messages_that_wait_for_a_tenants_sockets_are_bounded_together() {
    let server = server("[tenant.acme]\nquotas = { queued-bytes = 100000 }");
    let mut client = connect(server.url("/acme/commander")).await;
    let send = |bytes: usize| json!({ "do": "send", "message": { "bytes_of": bytes } });
    client.send(send(100_001).to_string()).await;
    let answer = client.recv_json().await;
    assert_eq!(answer["answer"], json!({ "error": "limit-exceeded" }));
    // What has been written counts no more.
    for _ in 0..5 {
        client.send(send(90_000).to_string()).await;
        assert_eq!(client.recv_bytes().await.len(), 90_000);
        client.recv_json().await;
    }
}

#[tokio::test]
async fn a_tenants_lines_in_the_log_are_bounded_and_those_left_out_are_counted() {
    let server = server("[tenant.acme]\nquotas = { log-lines-per-second = 5 }");
    let mut client = connect(server.url("/acme/commander")).await;
    let line = json!({ "do": "log", "level": "info", "text": "a line of acme" });
    let lines: Vec<_> = std::iter::repeat_n(line.clone(), 100).collect();
    client.send(json!(lines).to_string()).await;
    client.recv().await;
    eventually("some to be allowed again", async || {
        client.ask(line.clone()).await;
        server.stderr.with("lines left out").first().cloned()
    })
    .await;
    server.log_line(&[
        "lines left out (quotas.log-lines-per-second)",
        "acme/commander.wasm",
    ]);
    // Five at once, and as many again for each second that a busy machine took for them.
    assert!(server.stderr.with("a line of acme").len() < 50);
}

#[tokio::test]
async fn a_cap_on_the_processors_holds_also_when_they_are_idle() {
    let server = server("[tenant.acme]\nquotas = { cpu-ms-per-second = 150 }");
    let mut capped = connect(server.url("/acme/commander")).await;
    let mut free = connect(server.url("/other/commander")).await;
    // It is busy by the clock, for as long as it has a core.
    let before = server.processor_ms();
    capped.ask(json!({ "do": "busy", "ms": 1500 })).await;
    let used = server.processor_ms() - before;
    // A seventh of a core, what it may have at once, and the server's own.
    assert!(used < 700, "{used} ms");
    // It is stopped when it has had a core for two seconds. With the cap, that would take thirteen.
    let before = server.processor_ms();
    let begun = Instant::now();
    free.send(json!({ "do": "loop" }).to_string()).await;
    expect_handler_error(&mut free).await;
    assert!(begun.elapsed() < Duration::from_secs(12));
    let used = server.processor_ms() - before;
    assert!(used > 800, "{used} ms");
}

#[tokio::test]
async fn limits_of_a_tenant_or_a_plugin_stand_over_those_of_all() {
    let server = server(
        "[limits]\ndeadline-ms = 5000\n[tenant.acme]\nlimits = { deadline-ms = 100 }\n\
         [plugin.\"other/commander\"]\nlimits = { rooms-per-socket = 1 }",
    );
    let mut acme = connect(server.url("/acme/commander")).await;
    acme.send(json!({ "do": "loop" }).to_string()).await;
    expect_handler_error(&mut acme).await;
    server.log_line(&["longer than 100 ms (limits.deadline-ms)"]);
    let mut other = connect(server.url("/other/commander")).await;
    other.ask(json!({ "do": "busy", "ms": 400 })).await;
    let first = other.ask(json!({ "do": "subscribe", "room": "a" })).await;
    assert_eq!(first, "done");
    let second = other.ask(json!({ "do": "subscribe", "room": "b" })).await;
    assert_eq!(second, json!({ "error": "limit-exceeded" }));
}

#[tokio::test]
async fn a_tenant_and_a_plugin_have_a_largest_message_of_their_own() {
    let server = server(
        "[limits]\nmax-message-bytes = 1000\n[tenant.acme]\nlimits = { max-message-bytes = 100 }\n\
         [plugin.\"acme/echo\"]\nlimits = { max-message-bytes = 5000000 }",
    );
    for (path, most) in [
        ("/commander", 1000),
        ("/acme/commander", 100),
        ("/acme/echo", 5_000_000),
    ] {
        let mut client = connect(server.url(path)).await;
        client.send("x".repeat(most)).await;
        assert_eq!(client.recv_text().await.len(), most, "{path}");
        client.send("x".repeat(most + 1)).await;
        assert_eq!(client.expect_close().await.0, 1009, "{path}");
    }
}

#[tokio::test]
async fn a_socket_that_sends_more_than_it_may_is_held_back_and_no_other() {
    let server = server("[plugin.\"acme/echo\"]\nlimits = { socket-messages-per-second = 50 }");
    let mut other = connect(server.url("/acme/commander")).await;
    for number in 0..100 {
        other.send(number.to_string()).await;
        other.recv_text().await;
    }
    assert_eq!(server.metric("tulpar_held_back_total"), 0);
    let mut client = connect(server.url("/acme/echo")).await;
    let mut neighbour = connect(server.url("/acme/echo")).await;
    let begun = Instant::now();
    // A tenth of a second's worth comes at once, and the last of them after ten seconds.
    for number in 0..500 {
        client.feed(number.to_string()).await;
    }
    client.flush().await;
    neighbour.send("me too").await;
    assert_eq!(neighbour.recv_text().await, "me too");
    assert!(begun.elapsed() < Duration::from_secs(5));
    for number in 0..55 {
        assert_eq!(client.recv_text().await, number.to_string());
    }
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(900), "{taken:?}");
    assert!(server.metric("tulpar_held_back_total") > 0);
}

#[tokio::test]
async fn a_socket_that_is_held_back_can_be_closed() {
    let server = server("[limits]\nsocket-messages-per-second = 1\n[timeouts]\nclose-ms = 60000");
    let mut client = connect(server.url("/commander")).await;
    let close = json!({ "do": "close", "code": 4000, "reason": "" });
    client.feed(close.to_string()).await;
    // Held back, they would keep the closing handshake from its end for longer than anybody waits.
    for _ in 0..100 {
        client.feed("x").await;
    }
    client.flush().await;
    assert_eq!(client.expect_close().await.0, 4000);
}

#[tokio::test]
async fn a_call_makes_as_many_host_calls_as_allowed_and_not_one_more() {
    let server = server("[limits]\nhost-calls = 500");
    let mut client = connect(server.url("/commander")).await;
    let ids = |count: usize| {
        let id = json!({ "do": "id" });
        json!(std::iter::repeat_n(id, count).collect::<Vec<_>>()).to_string()
    };
    client.send(ids(100)).await;
    client.recv_json().await;
    client.send(ids(600)).await;
    expect_handler_error(&mut client).await;
    server.log_line(&["more than 500 times (limits.host-calls)"]);
    assert_eq!(get(server.address(), "/commander").await.status, 426);
}

#[tokio::test]
async fn tenants_that_compute_share_the_cores_by_their_weights() {
    const LOOPS: usize = 8;
    let server = Server::with(&["echo"])
        .tenant("heavy", &["unruly"])
        .tenant("light", &["unruly"])
        .config(
            "[limits]\ncompute-ms = 400\nrequest-deadline-ms = 60000\n\
             [quotas]\ncpu-ms-per-second = 100000\n[tenant.heavy]\nquotas = { weight = 1600 }\n\
             [tenant.light]\nlimits = { compute-ms = 200 }",
        )
        .start();
    // As many on each side, and more than there are cores; each ends when it has computed for so long. The heavy one's
    // are first: after a pause between the two, the light one's could have been done alone.
    let mut under_way = Vec::new();
    for tenant in [["heavy"; LOOPS], ["light"; LOOPS]].concat() {
        let request = Request::get(&format!("/{tenant}/unruly/loop"));
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&request.bytes()).await;
        under_way.push(raw);
    }
    for raw in &mut under_way {
        assert_eq!(raw.response().await.status, 504);
    }
    let lines = eventually("the log to tell of each", async || {
        let lines = server.stderr.with("computed for longer than");
        (lines.len() == 2 * LOOPS).then_some(lines)
    })
    .await;
    // The heavy one has twice as much to do and gets sixteen times as much. Where threads stand still, two on each side
    // may change their places.
    let first = lines[..LOOPS].iter();
    let heavy = first.filter(|line| line.contains("heavy/unruly.wasm"));
    assert!(heavy.count() >= LOOPS - 2, "{lines:#?}");
}

#[tokio::test]
async fn v2_pings_and_empty_fragments_count_as_messages() {
    // A tenth of a second's may come at once, and the rest of these takes a second and a half.
    const FRAMES: usize = 1600;
    let empty = frame(Opcode::Continuation, b"").unfinished().bytes();
    let begin = frame(Opcode::Text, b"").unfinished().bytes();
    let end = frame(Opcode::Continuation, b"last").bytes();
    let ping = frame(Opcode::Ping, b"").bytes();
    let last = frame(Opcode::Text, b"last").bytes();
    for flood in [
        [ping.repeat(FRAMES), last].concat(),
        [begin, empty.repeat(FRAMES), end].concat(),
    ] {
        let server = Server::with(&["echo"])
            .config("[plugin.echo]\nquotas = { messages-per-second = 1000 }")
            .start();
        let mut peer = Raw::upgraded(server.address(), "/echo").await;
        let begun = Instant::now();
        peer.write(&flood).await;
        loop {
            let frame = peer.frame().await;
            if frame != Frame::whole(Opcode::Pong, b"") {
                assert_eq!(frame, Frame::whole(Opcode::Text, b"last"));
                break;
            }
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1), "{took:?}");
    }
}
