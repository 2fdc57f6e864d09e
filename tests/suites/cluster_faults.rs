//! Brokers that are not there, end, stall, are slow or come back: rule V2. Clients of one node are served all the same.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Message, Nats, Nodes, PATIENCE, Signal, Value, call, connect, connected, eventually,
    hear_each_other, json, knows, lost, talk, three_nats,
};

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

fn subject(room: &str) -> String {
    format!("tulpar.ns.%root.%2Fcommander.{room}")
}

fn publish(room: &str, text: &str) -> Value {
    json!({ "do": "publish", "room": room, "message": text })
}

fn error_of(answer: &Value) -> &str {
    answer["error"]
        .as_str()
        .unwrap_or_else(|| panic!("it is a failure: {answer}"))
}

#[tokio::test]
async fn v2_a_node_that_requires_a_broker_does_not_start_without() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let nodes = Nodes::of(1, &nats).backplane("required = true");
    nats.kill();
    let (status, server) = nodes.builder().0.start_in_vain();
    assert_eq!(status.code(), Some(1));
    let said = server.stderr.text();
    assert!(said.contains(&nats.url()), "it names the broker: {said}");
    assert_eq!(server.stdout.with("listening on"), Vec::<String>::new());

    nats.start_again();
    let server = nodes.builder().0.start();
    knows(&server, 1).await;
    // What is required at the start may go later.
    nats.kill();
    connected(&server, false).await;
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "nothing" })).await;
}

#[tokio::test]
async fn v2_a_node_starts_without_a_broker_and_joins_when_there_is_one() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    nats.kill();
    let cluster = Nodes::of(2, &nats).start();
    let mut members = Vec::new();
    for node in &cluster.nodes {
        node.log_line(&["no connection to NATS", &nats.url()]);
        assert_eq!(node.metric("tulpar_backplane_connected"), 0);
        assert_eq!(node.metric("tulpar_backplane_nodes"), 1);
        let mut member = connect(node.url("/commander")).await;
        join(&mut member, "red").await;
        let mut neighbour = connect(node.url("/commander")).await;
        assert_eq!(neighbour.ask(publish("red", "here")).await, 1);
        assert_eq!(member.recv_text().await, "here");
        members.push(member);
    }
    nats.start_again();
    cluster.joined().await;
    hear_each_other(&mut members, "red").await;
    for node in &cluster.nodes {
        assert_eq!(node.metric("tulpar_backplane_connected"), 1);
        node.log_line(&["connected to NATS"]);
    }
}

#[tokio::test]
async fn v2_a_broker_that_restarts_under_load_costs_what_is_said_meanwhile_and_no_more() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let cluster = Nodes::of(2, &nats).join().await;
    let (talker, near, far) = talk(&cluster).await;
    for hard in [true, false, true] {
        match hard {
            true => nats.kill(),
            false => nats.stop(),
        }
        for node in &cluster.nodes {
            connected(node, false).await;
            assert_eq!(node.metric("tulpar_backplane_nodes"), 1);
            assert_eq!(node.admin_status("/ready"), Some(200));
        }
        talker.goes_on(50).await;
        nats.start_again();
        cluster.joined().await;
        far.hears_again(&talker).await;
    }
    let (said, _client) = talker.stop().await;
    near.hears(said - 1).await;
    assert_eq!(near.heard(), (0..said).collect::<Vec<_>>());
    let missing = said - far.heard().len() as u64;
    assert!(missing >= 100, "{missing} of {said} are missing");
    assert!(lost(&cluster[0], "cut-off") >= 100);
    assert_eq!(lost(&cluster[0], "malformed"), 0);
    cluster[0].log_line(&["have not reached the others"]);
    cluster.has_not_panicked();
}

#[tokio::test]
async fn v2_what_is_published_without_a_broker_is_not_delivered_later() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    nats.kill();
    connected(&cluster[0], false).await;
    for _ in 0..100 {
        assert_eq!(members[0].ask(publish("red", "while it is down")).await, 0);
    }
    // Ulak says so, and reaches this node's.
    for told in [
        json!({ "to": ["/commander", "red", "by ulak"] }),
        json!({ "broadcast": ["/commander", "by ulak"] }),
    ] {
        let answer = call(&cluster[0], "/desk", told).await;
        assert_eq!(error_of(&answer), "BroadcastFailed");
        assert_eq!(members[0].recv_text().await, "by ulak");
    }
    nats.start_again();
    cluster.joined().await;
    nats.until_heard_by(2, &subject("red")).await;
    members[0].ask(publish("red", "now")).await;
    assert_eq!(members[1].recv_text().await, "now");
    assert_eq!(lost(&cluster[0], "cut-off"), 102);
}

#[tokio::test]
async fn r1_rooms_that_are_joined_and_left_without_a_broker_are_right_afterwards() {
    let Some(mut nats) = Nats::start() else {
        return;
    };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    nats.kill();
    connected(&cluster[1], false).await;
    // By then who subscribes has been told too.
    cluster[1].log_line(&["the connection to NATS is lost"]);
    let told = json!({ "do": "unsubscribe", "room": "red" });
    members[1].ask(told).await;
    join(&mut members[1], "blue").await;
    let mut late = connect(cluster[1].url("/scripted")).await;
    join(&mut late, "green").await;
    // Whatever is joined and left, the client has nothing of it waiting.
    let before = cluster[1].metric("tulpar_backplane_subscriptions");
    for number in 0..300 {
        let rooms = [format!("a{number}"), format!("b{number}")];
        let joins = rooms
            .each_ref()
            .map(|it| json!({ "do": "subscribe", "room": it }));
        late.ask(joins.into_iter().collect()).await;
        if number % 2 == 0 {
            let leave = json!({ "do": "unsubscribe", "room": rooms[0] });
            late.ask(leave).await;
        }
    }
    assert_eq!(cluster[1].metric("tulpar_backplane_subscriptions"), before);
    nats.start_again();
    cluster.joined().await;
    nats.until_heard_by(1, &subject("blue")).await;
    for (room, count) in [("green", 1), ("a1", 1), ("b298", 1), ("a298", 0)] {
        let subject = format!("tulpar.ns.%root.%2Fscripted.{room}");
        nats.until_heard_by(count, &subject).await;
    }
    nats.until_heard_by(1, &subject("red")).await;
    for text in ["one", "two"] {
        members[0].ask(publish("red", "nobody hears")).await;
        members[0].ask(publish("blue", text)).await;
        assert_eq!(members[1].recv_text().await, text);
    }
    members[1].expect_nothing().await;
    late.expect_nothing().await;
}

#[tokio::test]
async fn v2_a_broker_that_stalls_holds_nobody_up_and_loses_no_order() {
    // For shorter than it takes to find out, and for longer.
    for (heartbeat, is_noticed) in [(20_000, false), (300, true)] {
        let Some(nats) = Nats::start() else { return };
        let lines = format!("heartbeat-ms = {heartbeat}\nrequest-ms = 500");
        let cluster = Nodes::of(2, &nats).backplane(&lines).join().await;
        let (talker, near, far) = talk(&cluster).await;
        let mut other = connect(cluster[1].url("/commander")).await;
        let id = other.ask(json!({ "do": "id" })).await;
        nats.pause();
        // An answer comes in time, whether anybody has found out or not.
        let to_socket = json!({ "to-socket": ["/commander", id, "x"] });
        let answer = call(&cluster[0], "/desk", to_socket).await;
        let told = json!({ "do": "call", "call": { "cluster-socket-count": [] } });
        let counted = other.ask(told).await;
        assert_eq!(
            (&counted["count"], &counted["nodes"]),
            (&2.into(), &1.into())
        );
        match is_noticed {
            true => {
                let expected = ["SendFailed", "BroadcastFailed"];
                assert!(expected.contains(&error_of(&answer)), "{answer}");
                for node in &cluster.nodes {
                    connected(node, false).await;
                }
            }
            false => {
                assert_eq!(error_of(&answer), "SendFailed");
                assert_eq!(counted["silent"], 1);
            }
        }
        let said = talker.said();
        near.hears(said).await;
        talker.goes_on(100).await;
        nats.resume();
        cluster.joined().await;
        far.hears_again(&talker).await;
        let (said, _client) = talker.stop().await;
        near.hears(said - 1).await;
        assert_eq!(near.heard(), (0..said).collect::<Vec<_>>());
        far.heard();
        cluster.has_not_panicked();
    }
}

#[tokio::test]
async fn v2_a_slow_broker_costs_what_does_not_fit_and_holds_nobody_up() {
    const BYTES: usize = 100_000;
    const MORE: usize = 2_000_000;
    let Some(nats) = Nats::start() else { return };
    let nodes = Nodes::wired(2, &nats)
        // What shows that the broker is there waits behind all that is sent.
        .backplane("queue-bytes = 1000000\nheartbeat-ms = 20000")
        .config("[limits]\ndeadline-ms = 5000\noutbox-bytes = 67108864");
    let cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut neighbour = connect(cluster[0].url("/commander")).await;
    join(&mut neighbour, "red").await;
    let memory = cluster[0].resident_bytes();
    cluster.wires[0].slow(200_000);
    // Fifty megabytes, of which some fit into the system's buffers.
    let flood = json!({ "do": "publish", "room": "red", "message": { "bytes_of": BYTES } });
    for _ in 0..500 {
        assert_eq!(members[0].ask(flood.clone()).await, 1);
        assert_eq!(neighbour.recv_bytes().await.len(), BYTES);
    }
    assert!(lost(&cluster[0], "full") > 0);
    // What finds nothing waiting has room at any size, as just when the last was taken.
    let mut said = 0;
    eventually("one to find no room", async || {
        let told = json!({ "broadcast-of": ["/commander", MORE] });
        let answer = call(&cluster[0], "/desk", told).await;
        said += 1;
        if answer == 2 {
            return None;
        }
        assert_eq!(error_of(&answer), "BroadcastFailed");
        Some(())
    })
    .await;
    let grown = cluster[0].resident_bytes().saturating_sub(memory);
    assert!(grown < 48 << 20, "{grown} bytes more");
    cluster.wires[0].restore();
    cluster.joined().await;
    // What was on its way arrives, and then what is said now.
    for _ in 0..said {
        assert_eq!(members[0].recv_text().await.len(), MORE);
    }
    eventually("one to be carried", async || {
        let told = json!({ "to": ["/commander", "red", "now"] });
        let answer = call(&cluster[0], "/desk", told).await;
        assert_eq!(members[0].recv_text().await, "now");
        (answer == 2).then_some(())
    })
    .await;
    loop {
        match members[1].recv().await {
            Some(Message::Binary(bytes)) => assert_eq!(bytes.len(), BYTES),
            Some(Message::Text(text)) if text.len() == MORE => (),
            Some(Message::Text(text)) => break assert_eq!(text.as_str(), "now"),
            other => panic!("not what was sent: {other:?}"),
        }
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn v2_a_late_broker_makes_others_late_and_nobody_here() {
    const DELAY: Duration = Duration::from_millis(150);
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::wired(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut neighbour = connect(cluster[0].url("/commander")).await;
    join(&mut neighbour, "red").await;
    for wire in &cluster.wires {
        wire.delay(DELAY);
    }
    let begun = Instant::now();
    for number in 0..100 {
        members[0].ask(publish("red", &number.to_string())).await;
        assert_eq!(neighbour.recv_text().await, number.to_string());
    }
    for number in 0..100 {
        assert_eq!(members[1].recv_text().await, number.to_string());
    }
    assert!(begun.elapsed() >= 2 * DELAY);
    let told = json!({ "do": "call", "call": { "cluster-room-count": "red" } });
    let expected = json!({ "count": 3, "nodes": 2, "silent": 0 });
    assert_eq!(members[0].ask(told).await, expected);
    cluster.joined().await;
}

#[tokio::test]
async fn v2_of_three_brokers_one_may_go_at_any_time() {
    let Some(mut brokers) = three_nats().await else {
        return;
    };
    let urls = brokers.each_ref().map(Nats::url).to_vec();
    // A server hears a moment later of who listens at another, and what nodes say of themselves meanwhile they say again with
    // the next heartbeat.
    let nodes = Nodes::at(3, urls).backplane("heartbeat-ms = 1500");
    let cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    for number in 0..3 {
        let connections = brokers[number].subscriptions().await;
        let nodes = connections.iter().filter(|it| !it.is_empty()).count();
        brokers[number].kill();
        eventually("nodes to go to the others", async || {
            let mut elsewhere = 0;
            for (_, broker) in brokers.iter().enumerate().filter(|(it, _)| *it != number) {
                let connections = broker.subscriptions().await;
                elsewhere += connections.iter().filter(|it| !it.is_empty()).count();
            }
            (elsewhere == 3).then_some(())
        })
        .await;
        cluster.joined().await;
        hear_each_other(&mut members, "red").await;
        println!("{nodes} nodes were at the broker {number}");
        brokers[number].start_again();
    }
    cluster.has_not_panicked();
}

#[tokio::test]
async fn v1_a_node_ends_in_order_whatever_its_broker_does() {
    for paused in [false, true] {
        let Some(mut nats) = Nats::start() else {
            return;
        };
        // For so long the last words of a node wait.
        let nodes = Nodes::of(2, &nats).backplane("request-ms = 1000");
        let mut cluster = nodes.join().await;
        let mut client = connect(cluster[0].url("/commander")).await;
        client.ask(json!({ "do": "nothing" })).await;
        match paused {
            true => nats.pause(),
            false => nats.kill(),
        }
        cluster[0].signal(Signal::TERM);
        assert_eq!(client.expect_close().await.0, 1001);
        assert_eq!(cluster[0].wait_exit(PATIENCE).code(), Some(0));
    }
}
