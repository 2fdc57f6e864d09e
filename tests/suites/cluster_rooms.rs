//! Rooms whose members are on several nodes: rules R1 to R6, and C4.

use tulpar_tests::{
    Client, Cluster, Nats, NatsClient, Nodes, Server, Value, connect, eventually, hear_each_other,
    json, scripted,
};

/// What everybody in `/commander` hears at the broker.
const EVERYBODY: &str = "tulpar.all.%root.%2Fcommander";

/// Three nodes, with a member of the room `red` on each.
async fn three() -> Option<(Nats, Cluster, Vec<Client>)> {
    let nats = Nats::start()?;
    let cluster = Nodes::of(3, &nats).join().await;
    let members = cluster.members("/commander", "red").await;
    Some((nats, cluster, members))
}

/// The subject of a room of `/commander`.
fn subject(room: &str) -> String {
    format!("tulpar.ns.%root.%2Fcommander.{room}")
}

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

async fn leave(client: &mut Client, room: &str) {
    let told = json!({ "do": "unsubscribe", "room": room });
    assert_eq!(client.ask(told).await, "done");
}

async fn id(client: &mut Client) -> Value {
    client.ask(json!({ "do": "id" })).await
}

fn publish(text: &str) -> Value {
    json!({ "do": "publish", "room": "red", "message": text })
}

/// Asks what all nodes have.
async fn everywhere(client: &mut Client, call: Value) -> Value {
    client.ask(json!({ "do": "call", "call": call })).await
}

fn sorted(mut ids: Vec<Value>) -> Value {
    ids.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    ids.into()
}

#[tokio::test]
async fn r2_publish_reaches_every_member_on_every_node_but_the_sender() {
    let Some((_nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut neighbour = connect(cluster[1].url("/commander")).await;
    join(&mut neighbour, "red").await;
    let mut stranger = connect(cluster[1].url("/commander")).await;
    // What is sent later would come later: the second round shows that the first was all.
    for round in 0..2 {
        for sender in 0..3 {
            let text = format!("{round} from {sender}");
            // It tells how many are on its own node.
            let here = members[sender].ask(publish(&text)).await;
            assert_eq!(here, i32::from(sender == 1));
            for (number, member) in members.iter_mut().enumerate() {
                if number != sender {
                    assert_eq!(member.recv_text().await, text);
                }
            }
            assert_eq!(neighbour.recv_text().await, text);
        }
    }
    for member in &mut members {
        member.expect_nothing().await;
    }
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn r2_to_reaches_every_member_on_every_node_the_sender_included() {
    let Some((_nats, _cluster, mut members)) = three().await else {
        return;
    };
    for text in ["one", "two"] {
        let told = json!({ "do": "to", "room": "red", "message": text });
        members[0].send(told.to_string()).await;
        for member in &mut members {
            assert_eq!(member.recv_text().await, text);
        }
        assert_eq!(members[0].recv_json().await, json!({ "answer": 1 }));
    }
}

#[tokio::test]
async fn r2_broadcast_reaches_every_socket_of_the_namespace_on_every_node() {
    let Some((nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut stranger = connect(cluster[2].url("/commander")).await;
    stranger.expect_nothing().await;
    let mut elsewhere = connect(cluster[2].url("/scripted")).await;
    elsewhere.expect_nothing().await;
    nats.until_heard_by(3, EVERYBODY).await;
    for text in ["one", "two"] {
        let told = json!({ "do": "broadcast", "message": text });
        members[0].send(told.to_string()).await;
        for member in &mut members {
            assert_eq!(member.recv_text().await, text);
        }
        assert_eq!(members[0].recv_json().await, json!({ "answer": 1 }));
        assert_eq!(stranger.recv_text().await, text);
    }
    elsewhere.expect_nothing().await;
}

#[tokio::test]
async fn r2_a_sender_that_a_handler_speaks_for_is_left_out_on_its_own_node_alone() {
    let Some((_nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut speaker = connect(cluster[0].url("/commander")).await;
    let on = id(&mut members[0]).await;
    for text in ["one", "two"] {
        let told = json!({ "do": "publish", "on": on, "room": "red", "message": text });
        assert_eq!(speaker.ask(told).await, 0);
        for member in &mut members[1..] {
            assert_eq!(member.recv_text().await, text);
        }
    }
    members[0].expect_nothing().await;
}

#[tokio::test]
async fn r1_a_room_is_asked_for_at_the_broker_while_it_has_members() {
    let Some((nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut second = connect(cluster[0].url("/commander")).await;
    join(&mut second, "red").await;
    nats.until_heard_by(3, &subject("red")).await;
    leave(&mut second, "red").await;
    leave(&mut members[1], "red").await;
    nats.until_heard_by(2, &subject("red")).await;

    // Where nobody is in a room, nothing of it arrives.
    let received = cluster[1].metric("tulpar_backplane_received_total");
    members[0].ask(publish("two are left")).await;
    assert_eq!(members[2].recv_text().await, "two are left");
    join(&mut members[1], "red").await;
    nats.until_heard_by(3, &subject("red")).await;
    members[0].ask(publish("three again")).await;
    assert_eq!(members[2].recv_text().await, "three again");
    assert_eq!(members[1].recv_text().await, "three again");
    let now = cluster[1].metric("tulpar_backplane_received_total");
    assert_eq!(now - received, 1);

    drop(members.remove(1));
    nats.until_heard_by(2, &subject("red")).await;
    nats.until_heard_by(2, EVERYBODY).await;
    // What has been ended at the broker may be counted for a moment.
    eventually("no subscriptions to be counted", async || {
        (cluster[1].metric("tulpar_backplane_subscriptions") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r1_joining_and_leaving_again_and_again_ends_where_it_should() {
    let Some((nats, _cluster, mut members)) = three().await else {
        return;
    };
    for round in 0..100 {
        let commands = json!([
            { "do": "unsubscribe", "room": "red" },
            { "do": "subscribe", "room": "blue" },
            { "do": "subscribe", "room": "red" },
            { "do": "unsubscribe", "room": "blue" },
        ]);
        let member = &mut members[1 + round % 2];
        member.ask(commands).await;
    }
    nats.until_heard_by(0, &subject("blue")).await;
    nats.until_heard_by(3, &subject("red")).await;
    // The broker may have said so of a moment between two rounds.
    hear_each_other(&mut members, "red").await;
    for member in &mut members {
        member.expect_nothing().await;
    }
}

#[tokio::test]
async fn r3_texts_and_bytes_of_all_sizes_arrive_as_they_are() {
    // The second broker takes no more than 4 KB at once.
    for lines in ["", "max_payload: 4096"] {
        let Some(nats) = Nats::with(lines) else {
            return;
        };
        let config = "[limits]\ndeadline-ms = 5000\noutbox-bytes = 8000000";
        let cluster = Nodes::of(2, &nats).config(config).join().await;
        let mut members = cluster.members("/commander", "red").await;
        let [sender, member] = &mut members[..] else {
            panic!("there are two");
        };
        let numbers = |count: u32| (0..count).map(|n| n.to_string()).collect::<String>();
        let mut texts = vec![String::new(), "\"ö😀\u{0}\n".to_owned()];
        texts.extend([10, 600, 1_000, 20_000, 300_000].map(numbers));
        for text in &texts {
            sender.ask(publish(text)).await;
            let got = member.recv_text().await;
            assert!(got == *text, "{} of {} bytes", got.len(), text.len());
        }
        for size in [0, 1, 125, 126, 3_034, 3_035, 100_000] {
            let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
            let told = json!({ "do": "publish", "room": "red", "message": bytes });
            sender.ask(told).await;
            assert!(member.recv_bytes().await == bytes, "{size}");
        }
        // A small one behind a large one stays behind it.
        sender.ask(publish(&texts[6])).await;
        sender.ask(publish("behind")).await;
        assert!(member.recv_text().await == texts[6]);
        assert_eq!(member.recv_text().await, "behind");
        assert_eq!(lost(&cluster), Vec::<String>::new());
    }
}

/// The counters of what was lost that are not zero.
fn lost(cluster: &Cluster) -> Vec<String> {
    let metrics = cluster.nodes.iter().map(|node| node.metrics());
    let all: Vec<_> = metrics
        .flat_map(|it| it.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let counts = all
        .iter()
        .filter(|it| it.starts_with("tulpar_backplane_lost_total"));
    assert!(counts.clone().count() > 0, "they are counted");
    counts.filter(|it| !it.ends_with(" 0")).cloned().collect()
}

#[tokio::test]
async fn r5_what_one_socket_sends_arrives_on_every_node_in_that_order() {
    const NUMBERS: u32 = 1_000;
    let Some((_nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut senders = [
        connect(cluster[0].url("/commander")).await,
        connect(cluster[1].url("/commander")).await,
    ];
    for (index, sender) in senders.iter_mut().enumerate() {
        for number in 0..NUMBERS {
            let text = format!("{index} {number}");
            sender.feed(publish(&text).to_string()).await;
        }
    }
    let [first, second] = &mut senders;
    tokio::join!(first.flush(), second.flush());
    for member in &mut members {
        let mut next = [0; 2];
        while next != [NUMBERS; 2] {
            let text = member.recv_text().await;
            let (sender, number) = text.split_once(' ').expect("two numbers");
            let next = &mut next[sender.parse::<usize>().expect("a number")];
            assert_eq!(number.parse::<u32>(), Ok(*next), "of the sender {sender}");
            *next += 1;
        }
        member.expect_nothing().await;
    }
    assert_eq!(lost(&cluster), Vec::<String>::new());
}

#[tokio::test]
async fn r6_a_node_counts_its_own_and_the_cluster_all() {
    let Some((nats, cluster, mut members)) = three().await else {
        return;
    };
    let mut ids = Vec::new();
    for member in &mut members {
        ids.push(id(member).await);
    }
    join(&mut members[2], "blue").await;
    let mut fourth = connect(cluster[2].url("/commander")).await;
    ids.push(id(&mut fourth).await);
    nats.until_heard_by(1, &subject("blue")).await;

    let all = ids.clone();
    let in_red = sorted(all[..3].to_vec());
    let listing = |names: Value| json!({ "names": names, "more": false, "nodes": 3, "silent": 0 });
    let count = |count: u32| json!({ "count": count, "nodes": 3, "silent": 0 });
    for (number, member) in members.iter_mut().enumerate() {
        let here = [1, 1, 2][number];
        assert_eq!(member.ask(json!({ "do": "sockets" })).await, here);
        let members_here = member.ask(json!({ "do": "members", "room": "red" })).await;
        assert_eq!(members_here, json!([ids[number]]));
        let told = json!({ "do": "find", "id": ids[(number + 1) % 3] });
        assert_eq!(member.ask(told).await, false, "one of another node");
        for (call, expected) in [
            (json!({ "cluster-socket-count": [] }), count(4)),
            (json!({ "cluster-room-count": "red" }), count(3)),
            (json!({ "cluster-room-count": "green" }), count(0)),
            (
                json!({ "cluster-socket-ids": [] }),
                listing(sorted(all.clone())),
            ),
            (
                json!({ "cluster-room-members": "red" }),
                listing(in_red.clone()),
            ),
            (
                json!({ "cluster-room-members": "blue" }),
                listing(json!([ids[2]])),
            ),
            (
                json!({ "cluster-room-members": "green" }),
                listing(json!([])),
            ),
            (
                json!({ "cluster-room-names": [] }),
                listing(json!(["blue", "red"])),
            ),
        ] {
            assert_eq!(everywhere(member, call.clone()).await, expected, "{call}");
        }
    }
}

#[tokio::test]
async fn r6_nobody_is_asked_about_a_room_that_there_cannot_be() {
    let Some((nats, _cluster, mut members)) = three().await else {
        return;
    };
    let mut stranger = NatsClient::of(&nats).await;
    stranger.subscribe("tulpar.ask.*").await;
    for room in [
        String::new(),
        "a\nb".to_owned(),
        "x".repeat(257),
        "x".repeat(100_000),
    ] {
        let count = everywhere(&mut members[0], json!({ "cluster-room-count": room })).await;
        assert_eq!(count, json!({ "count": 0, "nodes": 1, "silent": 0 }));
        let list = everywhere(&mut members[0], json!({ "cluster-room-members": room })).await;
        assert_eq!(
            list,
            json!({ "names": [], "more": false, "nodes": 1, "silent": 0 })
        );
    }
    assert!(stranger.so_far().await.is_empty());
    // One that there can be.
    let room = "x".repeat(256);
    let count = everywhere(&mut members[0], json!({ "cluster-room-count": room })).await;
    assert_eq!(count, json!({ "count": 0, "nodes": 3, "silent": 0 }));
    assert_eq!(stranger.so_far().await.len(), 2);
}

#[tokio::test]
async fn r6_a_node_that_stands_alone_is_its_cluster() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    join(&mut client, "red").await;
    let counted = everywhere(&mut client, json!({ "cluster-room-count": "red" })).await;
    assert_eq!(counted, json!({ "count": 1, "nodes": 1, "silent": 0 }));
    let listed = everywhere(&mut client, json!({ "cluster-room-names": [] })).await;
    assert_eq!(listed["names"], json!(["red"]));
}

#[tokio::test]
async fn r6_lists_of_many_are_whole() {
    const MANY: usize = 3_000;
    let Some(nats) = Nats::start() else { return };
    let config = "[limits]\nrooms-per-socket = 10000";
    // What a node has to say is more than what may wait to be sent at once.
    let nodes = Nodes::of(3, &nats).backplane("queue-bytes = 65536");
    let cluster = nodes.config(config).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut names = vec!["red".to_owned()];
    let long = "x".repeat(200);
    // Some rooms are on two nodes.
    for (node, numbers) in [(1, 0..MANY), (2, MANY / 2..MANY + MANY / 2)] {
        let mut client = connect(cluster[node].url("/commander")).await;
        for some in numbers.collect::<Vec<_>>().chunks(500) {
            let rooms: Vec<_> = some.iter().map(|n| format!("ö{n}{long}")).collect();
            let joins = rooms
                .iter()
                .map(|it| json!({ "do": "subscribe", "room": it }));
            client.ask(joins.collect()).await;
            names.extend(rooms);
        }
        members.push(client);
    }
    names.sort();
    names.dedup();
    let listed = everywhere(&mut members[0], json!({ "cluster-room-names": [] })).await;
    assert_eq!(listed["names"].as_array().map(Vec::len), Some(names.len()));
    assert_eq!(listed["names"], json!(names));
    assert_eq!(listed["silent"], 0);
}

#[tokio::test]
async fn c4_what_is_sent_from_on_close_reaches_other_nodes() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/scripted", "red").await;
    let close = json!([
        { "do": "publish", "room": "red", "message": "gone" },
        { "do": "call", "call": { "to": ["/scripted", "red", "gone, said by ulak"] } },
    ]);
    let mut leaving = scripted(&cluster[1], json!({ "close": close })).await;
    join(&mut leaving, "red").await;
    leaving.close(1000, "").await;
    for member in &mut members {
        assert_eq!(member.recv_text().await, "gone");
        assert_eq!(member.recv_text().await, "gone, said by ulak");
        member.expect_nothing().await;
    }
}
