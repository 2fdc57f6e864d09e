//! Rooms over several nodes when there are many rooms, slow members, and plugins that come and go: rules R5 to R7, and P6.

use tulpar_tests::{
    Client, Nats, Nodes, Opcode, Raw, Value, become_served, connect, eventually, frame, guest, json,
};

/// The subject of a room of `/commander`.
fn subject(room: &str) -> String {
    format!("tulpar.ns.%root.%2Fcommander.{room}")
}

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

fn publish(room: &str, text: &str) -> Value {
    json!({ "do": "publish", "room": room, "message": text })
}

#[tokio::test]
async fn r2_above_so_many_rooms_all_are_asked_for_at_once() {
    const MOST: usize = 4;
    let Some(nats) = Nats::start() else { return };
    let config = format!("rooms = {MOST}");
    let cluster = Nodes::of(2, &nats).backplane(&config).join().await;
    let mut sender = connect(cluster[0].url("/commander")).await;
    let mut member = connect(cluster[1].url("/commander")).await;
    let subscribed = async |count: usize| {
        eventually(&format!("{count} subscriptions"), async || {
            let now = cluster[1].metric("tulpar_backplane_subscriptions");
            (now == count as u64).then_some(())
        })
        .await;
    };
    // Beside those of the rooms there are one for everybody and one for single sockets.
    let rooms: Vec<_> = (0..=MOST).map(|number| format!("r{number}")).collect();
    for room in &rooms[..MOST] {
        join(&mut member, room).await;
    }
    subscribed(MOST + 2).await;
    assert_eq!(nats.listeners(&subject("other")).await, 0);
    join(&mut member, &rooms[MOST]).await;
    subscribed(3).await;
    assert_eq!(nats.listeners(&subject("other")).await, 1);
    for round in 0..2 {
        for room in &rooms {
            let text = format!("{room} {round}");
            assert_eq!(sender.ask(publish(room, &text)).await, 0);
            // Of a room that nobody here is in, nobody hears.
            sender.ask(publish("other", "nobody")).await;
            assert_eq!(member.recv_text().await, text);
        }
    }
    member.expect_nothing().await;
}

/// What waits at the broker for one subscription while the next one takes over must come, and once.
#[tokio::test]
async fn r5_nothing_is_lost_or_repeated_while_a_node_asks_for_fewer_or_all_rooms() {
    const NUMBERS: usize = 2_000;
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).backplane("rooms = 8").join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut restless = connect(cluster[1].url("/commander")).await;
    let [sender, member] = &mut members[..] else {
        panic!("there are two");
    };
    let each = |what: &str| -> Value {
        let commands = (0..20).map(|number| json!({ "do": what, "room": format!("r{number}") }));
        commands.collect()
    };
    let (joins, leaves) = (each("subscribe"), each("unsubscribe"));
    let mut next = 0;
    for number in 0..NUMBERS {
        let told = publish("red", &number.to_string());
        sender.feed(told.to_string()).await;
        if number % 50 == 0 {
            sender.flush().await;
            restless.ask(joins.clone()).await;
            restless.ask(leaves.clone()).await;
            while next < number {
                assert_eq!(member.recv_text().await, next.to_string());
                next += 1;
            }
        }
    }
    sender.flush().await;
    while next < NUMBERS {
        assert_eq!(member.recv_text().await, next.to_string());
        next += 1;
    }
    member.expect_nothing().await;
    nats.until_heard_by(0, &subject("r0")).await;
}

/// The same when much has come by the one subscription, and is not read yet, as the other takes over.
#[tokio::test]
async fn r5_a_backlog_keeps_its_order_while_a_node_asks_for_fewer_or_all_rooms() {
    const MANY: usize = 500;
    let Some(nats) = Nats::start() else { return };
    // While nothing passes, the connection is not to be taken for lost.
    let nodes = Nodes::wired(2, &nats).backplane("rooms = 8\nheartbeat-ms = 20000");
    let cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut restless = connect(cluster[1].url("/commander")).await;
    let [sender, member] = &mut members[..] else {
        panic!("there are two");
    };
    let (mut said, mut heard) = (0, 0);
    for what in ["subscribe", "unsubscribe"].repeat(5) {
        cluster.wires[1].hold();
        let commands = (0..20).map(|number| json!({ "do": what, "room": format!("r{number}") }));
        restless.ask(commands.collect()).await;
        // One half before the node is there again, and one while it reads the first.
        for is_held in [true, false] {
            for _ in 0..MANY {
                let told = publish("red", &said.to_string());
                sender.feed(told.to_string()).await;
                said += 1;
            }
            sender.flush().await;
            for _ in 0..if is_held { MANY } else { 0 } {
                assert_eq!(sender.recv_json().await["answer"], 0);
            }
            cluster.wires[1].restore();
        }
        for _ in 0..MANY {
            assert_eq!(sender.recv_json().await["answer"], 0);
        }
        while heard < said {
            assert_eq!(member.recv_text().await, heard.to_string());
            heard += 1;
        }
    }
    member.expect_nothing().await;
}

#[tokio::test]
async fn r7_a_member_that_does_not_read_delays_nobody_on_its_node() {
    const MESSAGES: usize = 200;
    const BYTES: usize = 20_000;
    let Some(nats) = Nats::start() else { return };
    // It is read from when all else is done: for so long the close frame has to wait.
    let config = "[limits]\noutbox-bytes = 65536\n[timeouts]\nclose-ms = 60000";
    let cluster = Nodes::of(2, &nats).config(config).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut deaf = Raw::narrow(cluster[1].address(), "/commander").await;
    let told = json!({ "do": "subscribe", "room": "red" }).to_string();
    deaf.send(frame(Opcode::Text, told.as_bytes())).await;
    deaf.frame().await;
    let message = json!({ "do": "publish", "room": "red", "message": { "bytes_of": BYTES } });
    for _ in 0..MESSAGES {
        assert_eq!(members[0].ask(message.clone()).await, 0);
        assert_eq!(members[1].recv_bytes().await.len(), BYTES);
    }
    assert_eq!(deaf.close_frame().await, (1008, "Slow consumer".to_owned()));
}

#[tokio::test]
async fn p6_a_replaced_plugin_hears_of_its_rooms_on_other_nodes() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let [sender, member] = &mut members[..] else {
        panic!("there are two");
    };
    // The same code in other bytes: a custom section more.
    let mut other = guest("commander");
    other.extend_from_slice(b"\x00\x05\x04more");
    cluster[1].drop_in("commander.wasm", &other);
    // Before, meanwhile and afterwards.
    let replaced = || !cluster[1].stderr.with("replaced commander.wasm").is_empty();
    let (mut number, mut after) = (0, 0);
    while after < 10 {
        after += usize::from(replaced());
        let text = number.to_string();
        sender.ask(publish("red", &text)).await;
        assert_eq!(member.recv_text().await, text);
        number += 1;
    }
    member.expect_nothing().await;
}

#[tokio::test]
async fn p6_a_namespace_that_is_gone_and_comes_back_hears_other_nodes() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    cluster[1].take_out("commander.wasm");
    let mut leaving = members.pop().expect("it is there");
    assert_eq!(leaving.expect_close().await.0, 1001);
    nats.until_heard_by(1, &subject("red")).await;
    cluster[1].drop_in("commander.wasm", &guest("commander"));
    become_served(&cluster[1], "/commander").await;
    let mut member = connect(cluster[1].url("/commander")).await;
    join(&mut member, "red").await;
    nats.until_heard_by(2, &subject("red")).await;
    for text in ["one", "two"] {
        members[0].ask(publish("red", text)).await;
        assert_eq!(member.recv_text().await, text);
    }
    member.expect_nothing().await;
}
