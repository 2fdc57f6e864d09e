//! A node that is cut off from the others: what it says is counted as lost and reported, and its clients stay or go
//! elsewhere, as the operator wants. Rules V2 and U1.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Cluster, Nats, Nodes, Value, call, connect, connected, eventually, hear_each_other,
    json, lost, talk,
};

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

async fn id(client: &mut Client) -> String {
    let id = client.ask(json!({ "do": "id" })).await;
    id.as_str().expect("an id is a text").to_owned()
}

#[tokio::test]
async fn v2_what_a_node_without_a_connection_says_is_counted_as_lost() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::wired(2, &nats).join().await;
    let (talker, near, far) = talk(&cluster).await;
    for _ in 0..3 {
        cluster.wires[0].cut();
        connected(&cluster[0], false).await;
        talker.goes_on(50).await;
        cluster.wires[0].restore();
        cluster.joined().await;
        far.hears_again(&talker).await;
    }
    let (said, _client) = talker.stop().await;
    near.hears(said - 1).await;
    far.hears(said - 1).await;
    assert_eq!(near.heard(), (0..said).collect::<Vec<_>>());
    let missing = said - far.heard().len() as u64;
    // What was under way may have arrived or not; the others are those that are missing.
    let [surely, maybe] = ["cut-off", "unconfirmed"].map(|reason| lost(&cluster[0], reason));
    assert!(surely >= 150, "{surely}");
    assert!(
        (surely..=surely + maybe).contains(&missing),
        "{missing} are missing, {surely} and up to {maybe} are counted"
    );
    for reason in ["full", "malformed", "unread", "quota"] {
        assert_eq!(lost(&cluster[0], reason), 0, "{reason}");
    }
    cluster[0].log_line(&["have not reached the others"]);
}

const CLIENTS: u32 = 20;
/// For how long clients are closed.
const OVER: Duration = Duration::from_millis(400);

/// Two nodes that close their clients when they have been cut off for so long, and clients of the first.
async fn closing(nats: &Nats, cut_off: Duration) -> (Cluster, Vec<Client>) {
    let nodes = Nodes::wired(2, nats)
        .backplane(&format!(
            "cut-off = 'close'\ncut-off-ms = {}",
            cut_off.as_millis()
        ))
        .config(&format!("[timeouts]\ndrain-ms = {}", OVER.as_millis()));
    let cluster = nodes.join().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(cluster[0].url("/commander")).await;
        client.ask(json!({ "do": "nothing" })).await;
        clients.push(client);
    }
    (cluster, clients)
}

#[tokio::test]
async fn v2_clients_of_a_node_that_is_cut_off_for_a_moment_stay() {
    let Some(nats) = Nats::start() else { return };
    // On a busy machine a moment may be long.
    let (cluster, mut clients) = closing(&nats, Duration::from_secs(20)).await;
    let connections = cluster.wires[0].accepted();
    cluster.wires[0].reset();
    eventually("the connection to be made again", async || {
        (cluster.wires[0].accepted() > connections).then_some(())
    })
    .await;
    connected(&cluster[0], true).await;
    cluster.joined().await;
    for client in &mut clients {
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn v2_clients_of_a_node_that_is_cut_off_go_elsewhere_when_that_is_wanted() {
    const CUT_OFF: Duration = Duration::from_millis(600);
    let Some(nats) = Nats::start() else { return };
    let (cluster, clients) = closing(&nats, CUT_OFF).await;
    let mut elsewhere = connect(cluster[1].url("/commander")).await;
    let cut = Instant::now();
    cluster.wires[0].cut();
    let closed = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let (code, reason) = client.expect_close().await;
            assert_eq!(code, 1012);
            assert!(!reason.is_empty());
            cut.elapsed()
        })
    });
    let mut times = Vec::new();
    for closed in closed.collect::<Vec<_>>() {
        times.push(closed.await.expect("it is closed with 1012"));
    }
    times.sort();
    // It may be late, but never early; and not all in one moment.
    for (index, time) in (0..CLIENTS).zip(&times) {
        let earliest = CUT_OFF + OVER * index / CLIENTS;
        assert!(
            *time + Duration::from_millis(100) > earliest,
            "the one of number {index} was closed after {time:?}"
        );
    }
    assert_eq!(cluster[0].admin_status("/ready"), Some(503));
    assert_eq!(cluster[0].admin_status("/live"), Some(200));
    assert_eq!(cluster[1].admin_status("/ready"), Some(200));
    elsewhere.expect_nothing().await;
    cluster[0].log_line(&["cut off from the other nodes"]);
    // Who comes all the same is closed too.
    let mut late = connect(cluster[0].url("/commander")).await;
    assert_eq!(late.expect_close().await.0, 1012);

    cluster.wires[0].restore();
    eventually("the node to be ready", async || {
        (cluster[0].admin_status("/ready") == Some(200)).then_some(())
    })
    .await;
    cluster.joined().await;
    let mut members = cluster.members("/commander", "red").await;
    hear_each_other(&mut members, "red").await;
}

#[tokio::test]
async fn v2_clients_of_a_node_that_is_cut_off_stay_when_nothing_else_is_wanted() {
    let Some(nats) = Nats::start() else { return };
    let nodes = Nodes::wired(2, &nats).backplane("cut-off-ms = 100");
    let cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    cluster.wires[0].cut();
    cluster[0].log_line(&["cut off from the other nodes"]);
    assert_eq!(cluster[0].admin_status("/ready"), Some(200));
    members[0].expect_nothing().await;
    let mut neighbour = connect(cluster[0].url("/commander")).await;
    join(&mut neighbour, "red").await;
    assert_eq!(neighbour.ask(publish("here")).await, 1);
    assert_eq!(members[0].recv_text().await, "here");
    cluster.wires[0].restore();
    cluster[0].log_line(&["joined with the other nodes again"]);
    cluster.joined().await;
}

#[tokio::test]
async fn u1_a_node_that_is_cut_off_says_that_nobody_else_was_reached() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::wired(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let (here, there) = (id(&mut members[0]).await, id(&mut members[1]).await);
    cluster.wires[0].cut();
    connected(&cluster[0], false).await;
    // Who had waited for an answer would say `SendFailed`.
    for (told, heard) in [
        (json!({ "broadcast": ["/commander", "x"] }), true),
        (json!({ "to": ["/commander", "red", "x"] }), true),
        (json!({ "to": ["/commander", "nobody", "x"] }), false),
        (json!({ "to-socket": ["/commander", there, "x"] }), false),
    ] {
        let answer = call(&cluster[0], "/desk", told.clone()).await;
        assert_eq!(error_of(&answer), "BroadcastFailed", "{told}");
        assert_eq!(answer["namespace"], "/commander", "{told}");
        if heard {
            assert_eq!(members[0].recv_text().await, "x");
        }
    }
    let told = json!({ "to-many": ["/commander", ["red", "nobody"], "many"] });
    let answer = call(&cluster[0], "/desk", told).await;
    assert_eq!(answer["counts"], json!([0, 2]));
    let told = json!({ "bulk-send": [
        ["/commander", "socket", here, "bulk"],
        ["/commander", "socket", there, "bulk"],
        ["/commander", "socket", "unknown", "bulk"],
    ] });
    let answer = call(&cluster[0], "/desk", told).await;
    assert_eq!(answer["counts"], json!([1, 2]));
    let codes = [1, 2].map(|index| error_of(&answer["results"][index]).to_owned());
    assert_eq!(codes, ["BroadcastFailed", "SocketNotFound"]);
    for text in ["many", "bulk"] {
        assert_eq!(members[0].recv_text().await, text);
    }
    for member in &mut members {
        member.expect_nothing().await;
    }
}
