//! Nodes that fall silent, die or leave: rule V2. The others miss them, nothing comes twice or in another order, and what
//! is parted comes together again.

use tulpar_tests::{
    Client, Nats, Nodes, PATIENCE, Server, Signal, Value, Wire, call, connect, connected,
    eventually, hear_each_other, json, knows, scripted, talk,
};

/// Nodes that find out soon. They also do when they or the broker only stand still for a second, and then what is said once may
/// be lost: here it is waited for that all is as it should be.
const SOON: &str = "heartbeat-ms = 300\nrequest-ms = 1000";

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

fn publish(text: &str) -> Value {
    json!({ "do": "publish", "room": "red", "message": text })
}

fn error_of(answer: &Value) -> &str {
    answer["error"]
        .as_str()
        .unwrap_or_else(|| panic!("it is a failure: {answer}"))
}

/// How many sockets there are everywhere, how many nodes say so, and how many say nothing.
async fn counted(client: &mut Client) -> [u64; 3] {
    let told = json!({ "do": "call", "call": { "cluster-socket-count": [] } });
    let answer = client.ask(told).await;
    ["count", "nodes", "silent"].map(|key| answer[key].as_u64().expect("it is a number"))
}

/// Waits until they are counted like that.
async fn counts(client: &mut Client, expected: [u64; 3]) {
    eventually(&format!("{expected:?} to be counted"), async || {
        (counted(client).await == expected).then_some(())
    })
    .await;
}

async fn id(client: &mut Client) -> String {
    let id = client.ask(json!({ "do": "id" })).await;
    id.as_str().expect("an id is a text").to_owned()
}

#[tokio::test]
async fn v2_connections_that_break_again_and_again_repeat_and_reorder_nothing() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::wired(2, &nats).join().await;
    let (talker, near, far) = talk(&cluster).await;
    let before = cluster.nodes.iter().map(Server::descriptors).max();
    let connections = cluster.wires.iter().map(Wire::accepted);
    let connections: Vec<_> = connections.collect();
    for round in 0..20 {
        cluster.wires[round % 2].reset();
        talker.goes_on(3).await;
    }
    for (wire, before) in cluster.wires.iter().zip(connections) {
        eventually("a broken connection to be made again", async || {
            (wire.accepted() > before).then_some(())
        })
        .await;
    }
    cluster.joined().await;
    far.hears_again(&talker).await;
    let (said, _client) = talker.stop().await;
    near.hears(said - 1).await;
    assert_eq!(near.heard(), (0..said).collect::<Vec<_>>());
    far.heard();
    eventually("the descriptors to be back", async || {
        let now = cluster.nodes.iter().map(Server::descriptors).max();
        (now <= before).then_some(())
    })
    .await;
    cluster.has_not_panicked();
}

/// What the network does to a node that it parts from the others.
#[derive(Clone, Copy, Debug)]
enum Parting {
    /// What is sent waits, and arrives later.
    Holds,
    /// What is sent is gone.
    Swallows,
}

#[tokio::test]
async fn v2_a_node_that_is_parted_serves_its_own_and_is_missed_by_the_others() {
    for parting in [Parting::Holds, Parting::Swallows] {
        let Some(nats) = Nats::start() else { return };
        let cluster = Nodes::wired(3, &nats).backplane(SOON).join().await;
        let mut members = cluster.members("/commander", "red").await;
        let mut neighbour = connect(cluster[0].url("/commander")).await;
        join(&mut neighbour, "red").await;
        let lone = id(&mut members[0]).await;
        match parting {
            Parting::Holds => cluster.wires[0].hold(),
            Parting::Swallows => cluster.wires[0].swallow(),
        }
        // Before anybody has found out, and afterwards: silence is told of, and nobody waits for ever.
        let told = json!({ "to-socket": ["/commander", lone, "x"] });
        eventually("silence to be told of", async || {
            let answer = call(&cluster[1], "/desk", told.clone()).await;
            let error = error_of(&answer);
            assert!(
                ["SendFailed", "BroadcastFailed"].contains(&error),
                "{error}"
            );
            (error == "SendFailed").then_some(())
        })
        .await;
        eventually("the two others to be counted", async || {
            let [count, nodes, silent] = counted(&mut members[1]).await;
            assert!(count <= 2 && nodes + silent <= 3, "{parting:?}");
            ((count, nodes) == (2, 2)).then_some(())
        })
        .await;

        for node in &cluster.nodes[1..] {
            knows(node, 2).await;
            node.log_line(&["has not been heard", "it is gone"]);
        }
        connected(&cluster[0], false).await;
        knows(&cluster[0], 1).await;
        counts(&mut members[1], [2, 2, 0]).await;
        // It may have missed the others before it knew that it is cut off. Those that it still knows say nothing.
        let [count, nodes, silent] = counted(&mut members[0]).await;
        assert_eq!((count, nodes), (2, 1), "{parting:?}");
        assert!(silent <= 2, "{silent}");
        // Each side goes on.
        hear_each_other(&mut members[1..], "red").await;
        for text in ["one", "two"] {
            assert_eq!(members[0].ask(publish(text)).await, 1);
            assert_eq!(neighbour.recv_text().await, text);
        }
        assert_eq!(cluster[0].admin_status("/ready"), Some(200));

        cluster.wires[0].restore();
        cluster.joined().await;
        nats.until_heard_by(3, "tulpar.ns.%root.%2Fcommander.red")
            .await;
        // Together again, and nothing else comes.
        members.push(neighbour);
        hear_each_other(&mut members, "red").await;
        counts(&mut members[1], [4, 3, 0]).await;
        cluster.has_not_panicked();
    }
}

#[tokio::test]
async fn v2_what_was_held_back_comes_neither_twice_nor_behind_what_was_said_later() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::wired(2, &nats).backplane(SOON).join().await;
    let (talker, near, far) = talk(&cluster).await;
    // Of who talks, of who hears, and of both; for so short that nobody notices, and for longer.
    for nodes in [0..1, 1..2, 0..2] {
        for is_noticed in [false, true] {
            for node in nodes.clone() {
                cluster.wires[node].hold();
            }
            talker.goes_on(50).await;
            for node in nodes.clone() {
                if is_noticed {
                    connected(&cluster[node], false).await;
                }
            }
            for node in nodes.clone() {
                cluster.wires[node].restore();
            }
            cluster.joined().await;
            far.hears_again(&talker).await;
        }
    }
    let (said, _client) = talker.stop().await;
    near.hears(said - 1).await;
    assert_eq!(near.heard(), (0..said).collect::<Vec<_>>());
    far.heard();
    cluster.has_not_panicked();
}

#[tokio::test]
async fn v2_a_node_that_is_killed_is_gone_within_moments() {
    let Some(nats) = Nats::start() else { return };
    let mut cluster = Nodes::of(3, &nats).backplane(SOON).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let dead = id(&mut members[2]).await;
    counts(&mut members[0], [3, 3, 0]).await;
    cluster.kill(2);
    // Its sockets are not found, as soon as the broker knows that it is gone.
    nats.until_heard_by(2, "tulpar.ns.%root.%2Fcommander.red")
        .await;
    let told = json!({ "to-socket": ["/commander", dead, "x"] });
    eventually("the socket not to be found", async || {
        let answer = call(&cluster[0], "/desk", told.clone()).await;
        (error_of(&answer) == "SocketNotFound").then_some(())
    })
    .await;
    eventually("the two others to be counted", async || {
        let [count, nodes, silent] = counted(&mut members[0]).await;
        assert!(count <= 2 && nodes + silent <= 3, "{nodes} and {silent}");
        ((count, nodes) == (2, 2)).then_some(())
    })
    .await;
    // Of its heartbeats three are waited for.
    let node = format!("node {} ", &dead[..8]);
    cluster[0].log_line(&[&node, "has not been heard for 900 ms"]);
    cluster.joined().await;
    counts(&mut members[0], [2, 2, 0]).await;
    hear_each_other(&mut members[..2], "red").await;

    cluster.grow().await;
    let mut newcomer = connect(cluster[2].url("/commander")).await;
    join(&mut newcomer, "red").await;
    members[2] = newcomer;
    hear_each_other(&mut members, "red").await;
}

#[tokio::test]
async fn v1_a_node_that_leaves_says_so() {
    let Some(nats) = Nats::start() else { return };
    // It would be missed only much later.
    let nodes = Nodes::of(2, &nats).backplane("heartbeat-ms = 20000");
    let mut cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    cluster[1].signal(Signal::TERM);
    assert_eq!(members[1].expect_close().await.0, 1001);
    assert_eq!(cluster[1].wait_exit(PATIENCE).code(), Some(0));
    knows(&cluster[0], 1).await;
    cluster[0].log_line(&["has left"]);
    assert_eq!(counted(&mut members[0]).await, [1, 1, 0]);
}

/// What is said in on-close while a node stops reaches the others: it leaves when everybody has gone.
#[tokio::test]
async fn c4_the_last_words_of_a_node_that_stops_reach_the_others() {
    const SOCKETS: usize = 20;
    let Some(nats) = Nats::start() else { return };
    let mut cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/scripted", "red").await;
    let close = json!([{ "do": "publish", "room": "red", "message": "gone" }]);
    let mut leaving = Vec::new();
    for _ in 0..SOCKETS {
        let values = json!({ "close": close });
        leaving.push(scripted(&cluster[1], values).await);
    }
    cluster[1].signal(Signal::TERM);
    let closing = leaving.into_iter().chain(members.pop());
    let closing = closing.map(|mut client| {
        tokio::spawn(async move { while client.recv_or_end().await.is_some() {} })
    });
    for closed in closing.collect::<Vec<_>>() {
        closed.await.expect("it is closed");
    }
    for _ in 0..SOCKETS {
        assert_eq!(members[0].recv_text().await, "gone");
    }
    members[0].expect_nothing().await;
    assert_eq!(cluster[1].wait_exit(PATIENCE).code(), Some(0));
}
