//! Ulak over several nodes: rules U1 to U3, called from a controller (`desk`) and a namespace (`commander`) of one node for
//! sockets of others.

use std::time::Duration;

use tulpar_tests::{
    Client, Cluster, Mould, Nats, Nodes, Opcode, Raw, Value, call, connect, eventually, frame, json,
};

/// Three nodes, with a socket of `/commander` on the second and the third, in the room that is its number, and their ids. The
/// first has the desk that is asked, and no socket.
type Three = (Nats, Cluster, [Client; 2], [String; 2]);

async fn three() -> Option<Three> {
    three_that_are(Nodes::of).await
}

async fn three_that_are(nodes: fn(usize, &Nats) -> Nodes) -> Option<Three> {
    let nats = Nats::start()?;
    let cluster = nodes(3, &nats).join().await;
    let (one, one_id) = member(&nats, &cluster, 1).await;
    let (two, two_id) = member(&nats, &cluster, 2).await;
    Some((nats, cluster, [one, two], [one_id, two_id]))
}

/// A socket of that node, in the room that is the node's number, which hears what is sent on any node. And its id.
async fn member(nats: &Nats, cluster: &Cluster, node: usize) -> (Client, String) {
    let mut client = connect(cluster[node].url("/commander")).await;
    join(&mut client, &node.to_string()).await;
    let id = client.ask(json!({ "do": "id" })).await;
    let id = id.as_str().expect("an id is a text").to_owned();
    nats.until_heard_by(1, &format!("tulpar.ns.%root.%2Fcommander.{node}"))
        .await;
    let of_node = format!("tulpar.node.{}.%root.%2Fcommander", &id[..8]);
    nats.until_heard_by(1, &of_node).await;
    (client, id)
}

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done");
}

/// What the first node's desk answers.
async fn desk(cluster: &Cluster, told: Value) -> Value {
    call(&cluster[0], "/desk", told).await
}

fn error_of(answer: &Value) -> &str {
    answer["error"]
        .as_str()
        .unwrap_or_else(|| panic!("it is a failure: {answer}"))
}

#[tokio::test]
async fn u1_broadcast_to_and_to_socket_reach_whom_they_name_on_other_nodes() {
    let Some((nats, cluster, [mut one, mut two], [_, id])) = three().await else {
        return;
    };
    nats.until_heard_by(2, "tulpar.all.%root.%2Fcommander")
        .await;
    for round in 0..2 {
        // None is on the first node, whose own are told.
        let told = json!({ "broadcast": ["/commander", format!("all {round}")] });
        assert_eq!(desk(&cluster, told).await, 0);
        let told = json!({ "to": ["/commander", "1", "room"] });
        assert_eq!(desk(&cluster, told).await, 0);
        let told = json!({ "to-socket": ["/commander", id, "you"] });
        assert_eq!(desk(&cluster, told).await, 1);
        let all = format!("all {round}");
        expect_all(&mut one, &[&all, "room"]).await;
        expect_all(&mut two, &[&all, "you"]).await;
    }
    one.expect_nothing().await;
    two.expect_nothing().await;
    let count = desk(&cluster, json!({ "socket-count": "/commander" })).await;
    assert_eq!(count, 0);
}

/// These are the next texts, in whatever order: only what goes to one room keeps its order.
async fn expect_all(client: &mut Client, texts: &[&str]) {
    let mut got = Vec::new();
    for _ in texts {
        got.push(client.recv_text().await);
    }
    got.sort();
    let mut texts = texts.to_vec();
    texts.sort_unstable();
    assert_eq!(got, texts);
}

#[tokio::test]
async fn u1_an_unknown_socket_is_not_found_and_that_at_once() {
    let Some((_nats, cluster, [mut one, _two], [id, other])) = three().await else {
        return;
    };
    let mut gone = connect(cluster[1].url("/commander")).await;
    let gone_id = gone.ask(json!({ "do": "id" })).await;
    gone.close(1000, "").await;
    gone.expect_close().await;
    let ids = [
        // It has closed.
        gone_id.as_str().expect("it is an id"),
        // A node that there is, and no socket of it.
        &format!("{}{}", &id[..8], "0".repeat(32)),
        &format!("{}{}", &id[..8], &other[8..]),
        // A node that there never was.
        &format!("{}{}", "0".repeat(8), &id[8..]),
        &"0".repeat(40),
        // No ids.
        &format!("A{}", &id[1..]),
        &id[..39],
        &format!("{id}0"),
        "",
        "*",
        ">",
        &"*".repeat(40),
    ];
    // Who had waited for an answer would say `SendFailed`.
    for id in ids {
        let told = json!({ "to-socket": ["/commander", id, "x"] });
        let answer = desk(&cluster, told).await;
        assert_eq!(error_of(&answer), "SocketNotFound", "{id:?}");
        assert_eq!(answer["namespace"], "/commander");
    }
    one.expect_nothing().await;
}

#[tokio::test]
async fn u1_a_socket_of_another_namespace_is_not_found_on_any_node() {
    let Some((_nats, cluster, [mut one, _two], [id, _])) = three().await else {
        return;
    };
    let told = json!({ "to-socket": ["/scripted", id, "x"] });
    assert_eq!(error_of(&desk(&cluster, told).await), "SocketNotFound");
    one.expect_nothing().await;
}

#[tokio::test]
async fn u1_a_socket_of_another_node_that_does_not_take_a_message_is_told_of() {
    let Some((_nats, cluster, [mut closing, mut other], [id, _])) = three().await else {
        return;
    };
    // It stays until its client answers the close frame, which this one has not read.
    let told = json!({ "do": "close", "code": 1000, "reason": "", "tell": "2" });
    closing.send(told.to_string()).await;
    assert_eq!(other.recv_json().await, json!({ "answer": "done" }));
    let told = json!({ "to-socket": ["/commander", id, "late"] });
    let answer = desk(&cluster, told.clone()).await;
    assert_eq!(error_of(&answer), "SendFailed");
    assert_eq!(answer["namespace"], "/commander");
    assert_eq!(closing.expect_close().await.0, 1000);
    // And when it has gone, that is told.
    eventually("the socket to be gone", async || {
        let answer = desk(&cluster, told.clone()).await;
        (error_of(&answer) == "SocketNotFound").then_some(())
    })
    .await;
}

#[tokio::test]
async fn u1_a_socket_of_another_node_that_reads_too_slowly_is_told_of() {
    let Some(nats) = Nats::start() else { return };
    let config = "[limits]\ndeadline-ms = 10000\noutbox-bytes = 65536\n[sockets]\nslow-consumer = 'drop-newest'";
    let cluster = Nodes::of(2, &nats).config(config).join().await;
    let mut deaf = Raw::narrow(cluster[1].address(), "/commander").await;
    deaf.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&deaf.frame().await.payload).expect("it is JSON");
    let id = answer["answer"].as_str().expect("it is an id");
    let of_node = format!("tulpar.node.{}.%root.%2Fcommander", &id[..8]);
    nats.until_heard_by(1, &of_node).await;
    let told = json!({ "to-socket": ["/commander", id, "x".repeat(10_000)] });
    let mut taken = 0;
    let refused = loop {
        let answer = desk(&cluster, told.clone()).await;
        if answer != 1 {
            break answer;
        }
        taken += 1;
        assert!(taken < 1_000, "it takes everything");
    };
    assert_eq!(error_of(&refused), "SendFailed");
    assert!(taken >= 6, "{taken}");
}

#[tokio::test]
async fn u1_to_many_and_bulk_send_reach_other_nodes_and_report_each() {
    let Some((_nats, cluster, [mut one, mut two], [id, _])) = three().await else {
        return;
    };
    let told = json!({ "to-many": ["/commander", ["1", "", "2", "nobody"], "many"] });
    let answer = desk(&cluster, told).await;
    assert_eq!(answer["counts"], json!([3, 1]));
    assert_eq!(answer["results"][0], 0);
    assert_eq!(error_of(&answer["results"][1]), "InvalidRoom");
    for client in [&mut one, &mut two] {
        assert_eq!(client.recv_text().await, "many");
    }

    let told = json!({ "bulk-send": [
        ["/commander", "socket", id, "1"],
        ["/nowhere", "all", "", "2"],
        ["/commander", "room", "2", "3"],
        ["/commander", "socket", "gone", "4"],
        ["/commander", "socket", format!("{}{}", &id[..8], "0".repeat(32)), "5"],
        ["/commander", "room", "2", "6"],
        ["/commander", "socket", id, "7"],
    ] });
    let answer = desk(&cluster, told).await;
    assert_eq!(answer["counts"], json!([4, 3]));
    let results = answer["results"].as_array().expect("a list");
    for (index, expected) in [
        Ok(1),
        Err("NamespaceNotFound"),
        Ok(0),
        Err("SocketNotFound"),
        Err("SocketNotFound"),
        Ok(0),
        Ok(1),
    ]
    .into_iter()
    .enumerate()
    {
        match expected {
            Ok(addressed) => assert_eq!(results[index], addressed, "{index}"),
            Err(code) => assert_eq!(error_of(&results[index]), code, "{index}"),
        }
    }
    for text in ["1", "7"] {
        assert_eq!(one.recv_text().await, text);
    }
    for text in ["3", "6"] {
        assert_eq!(two.recv_text().await, text);
    }
    one.expect_nothing().await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn u1_many_sockets_of_other_nodes_take_no_longer_than_one() {
    const MANY: usize = 500;
    let Some((_nats, cluster, [mut one, mut two], ids)) = three_that_are(Nodes::wired).await else {
        return;
    };
    // One after the other they would take minutes, and the call has seconds.
    for wire in &cluster.wires {
        wire.delay(Duration::from_millis(100));
    }
    let operations: Vec<_> = (0..MANY)
        .map(|n| json!(["/commander", "socket", ids[n % 2], n.to_string()]))
        .collect();
    let answer = desk(&cluster, json!({ "bulk-send": operations })).await;
    assert_eq!(answer["counts"], json!([MANY, 0]));
    for n in (0..MANY).step_by(2) {
        assert_eq!(one.recv_text().await, n.to_string());
        assert_eq!(two.recv_text().await, (n + 1).to_string());
    }
}

#[tokio::test]
async fn u1_broadcast_all_and_matching_reach_every_namespace_on_every_node() {
    let Some(nats) = Nats::start() else { return };
    let nodes = Nodes::of(3, &nats)
        .file("one.wasm", &Mould::namespace("/group/one").bytes())
        .file("two.wasm", &Mould::namespace("/group/two").bytes());
    let cluster = nodes.join().await;
    let mut clients = Vec::new();
    for path in ["/group/one", "/group/two"] {
        let mut client = connect(cluster[1].url(path)).await;
        client.send("in").await;
        assert_eq!(client.recv_text().await, "in");
        let subject = format!("tulpar.all.%root.{}", path.replace('/', "%2F"));
        nats.until_heard_by(1, &subject).await;
        clients.push(client);
    }
    let (mut outside, _) = member(&nats, &cluster, 2).await;
    nats.until_heard_by(1, "tulpar.all.%root.%2Fcommander")
        .await;
    for round in 0..2 {
        let told = json!({ "matching": ["/group/", format!("group {round}")] });
        let answer = desk(&cluster, told).await;
        assert_eq!(answer, json!({ "counts": [2, 0], "results": [0, 0] }));
        let told = json!({ "broadcast-all": format!("all {round}") });
        let answer = desk(&cluster, told).await;
        assert_eq!(answer["counts"], json!([4, 0]));
        for client in &mut clients {
            assert_eq!(client.recv_text().await, format!("group {round}"));
            assert_eq!(client.recv_text().await, format!("all {round}"));
        }
        assert_eq!(outside.recv_text().await, format!("all {round}"));
    }
    outside.expect_nothing().await;
}

#[tokio::test]
async fn u1_a_namespace_reaches_a_socket_of_another_node() {
    let Some((_nats, _cluster, [mut one, mut two], [id, other])) = three().await else {
        return;
    };
    for (text, to) in [("hello", &id), ("to myself", &other)] {
        let to_socket = json!({ "to-socket": ["/commander", to, text] });
        let told = json!({ "do": "call", "call": to_socket });
        two.send(told.to_string()).await;
        match to == &id {
            true => assert_eq!(one.recv_text().await, text),
            false => assert_eq!(two.recv_text().await, text),
        }
        assert_eq!(two.recv_json().await, json!({ "answer": 1 }));
    }
    one.expect_nothing().await;
}

#[tokio::test]
async fn u1_a_message_at_the_limit_arrives_whole_and_one_past_it_is_refused() {
    // More than what may wait to be sent, which a message that finds nothing waiting may be; and this plugin's own limit.
    const MOST: usize = 12_000_000;
    let Some(nats) = Nats::start() else { return };
    let config = format!(
        "[limits]\ndeadline-ms = 10000\nmax-message-bytes = 1000000\n[plugin.desk.limits]\nmax-message-bytes = {MOST}"
    );
    let cluster = Nodes::of(2, &nats).config(&config).join().await;
    let (mut one, _) = member(&nats, &cluster, 1).await;
    nats.until_heard_by(1, "tulpar.all.%root.%2Fcommander")
        .await;
    let told = json!({ "broadcast-of": ["/commander", MOST + 1] });
    assert_eq!(error_of(&desk(&cluster, told).await), "InvalidMessage");
    let told = json!({ "broadcast-of": ["/commander", MOST] });
    assert_eq!(desk(&cluster, told).await, 0);
    assert_eq!(one.recv_text().await.len(), MOST);
    one.expect_nothing().await;
}

#[tokio::test]
async fn r5_what_a_controller_sends_arrives_on_other_nodes_in_that_order() {
    const MANY: usize = 900;
    let Some((_nats, cluster, [mut one, mut two], _)) = three().await else {
        return;
    };
    let operations: Vec<_> = (0..MANY)
        .map(|n| json!(["/commander", "room", (1 + n % 2).to_string(), n.to_string()]))
        .collect();
    let answer = desk(&cluster, json!({ "bulk-send": operations })).await;
    assert_eq!(answer["counts"], json!([MANY, 0]));
    for n in (0..MANY).step_by(2) {
        assert_eq!(one.recv_text().await, n.to_string());
        assert_eq!(two.recv_text().await, (n + 1).to_string());
    }
}

#[tokio::test]
async fn u2_tenants_reach_their_own_namespaces_alone_on_every_node() {
    for granted in [false, true] {
        let Some(nats) = Nats::start() else { return };
        let nodes = Nodes::of(2, &nats)
            .tenant("acme", &["commander", "desk", "attach"])
            .tenant("other", &["commander", "desk", "attach"])
            .config(&format!("[ulak]\nall-tenants = {granted}"));
        let cluster = nodes.join().await;
        let mut sockets = Vec::new();
        for (path, tenant) in [
            ("/commander", "%root"),
            ("/acme/commander", "acme"),
            ("/other/commander", "other"),
        ] {
            let mut client = connect(cluster[1].url(path)).await;
            let id = client.ask(json!({ "do": "id" })).await;
            nats.until_heard_by(1, &format!("tulpar.all.{tenant}.%2Fcommander"))
                .await;
            sockets.push((client, id));
        }
        let [root, acme, other] = &mut sockets[..] else {
            panic!("there are three");
        };
        let told = json!({ "to-socket": ["/other/commander", other.1, "x"] });
        let answer = call(&cluster[0], "/acme/desk", told).await;
        assert_eq!(error_of(&answer), "NamespaceNotFound");
        for id in [&root.1, &other.1] {
            let told = json!({ "to-socket": ["/commander", id, "x"] });
            let answer = call(&cluster[0], "/acme/desk", told).await;
            assert_eq!(error_of(&answer), "SocketNotFound");
        }
        for text in ["one", "two"] {
            let told = json!({ "broadcast": ["/commander", text] });
            assert_eq!(call(&cluster[0], "/acme/desk", told).await, 0);
            assert_eq!(acme.0.recv_text().await, text);
        }
        let told = json!({ "broadcast": ["/acme/commander", "of root"] });
        let answer = call(&cluster[0], "/desk", told).await;
        match granted {
            true => assert_eq!(acme.0.recv_text().await, "of root"),
            false => assert_eq!(error_of(&answer), "PermissionDenied"),
        }
        for (client, _) in &mut sockets {
            client.expect_nothing().await;
        }
    }
}

#[tokio::test]
async fn c7_ids_are_unique_across_nodes() {
    let Some((_nats, cluster, [mut one, _two], ids)) = three().await else {
        return;
    };
    let mut client = connect(cluster[0].url("/commander")).await;
    let id = client.ask(json!({ "do": "id" })).await;
    let id = id.as_str().expect("it is an id");
    // Its first digits are the node's.
    let mut nodes = vec![&id[..8], &ids[0][..8], &ids[1][..8]];
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 3);
    let told = json!({ "do": "call", "call": { "cluster-socket-ids": [] } });
    let all = one.ask(told).await;
    let mut expected = vec![id, &ids[0], &ids[1]];
    expected.sort_unstable();
    assert_eq!(all["names"], json!(expected));
}
