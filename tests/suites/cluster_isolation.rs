//! No name of a room, a namespace or a tenant reaches another one's at the broker: rules R4 and U2. Nor do two clusters reach
//! each other, or strangers at the broker do harm.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Cluster, Message, Mould, Nats, NatsClient, Nodes, PATIENCE, Published, Raw, Value,
    call, connect, eventually, guest, json, knows,
};

/// Rooms whose names mean something in subjects of NATS, are written like others, or are those of none.
const ROOMS: [&str; 26] = [
    "*",
    ">",
    ".",
    "..",
    "a.b",
    "a.*",
    "a.>",
    "*.b",
    "a",
    "b",
    "A",
    "%2A",
    "%2a",
    "%252A",
    "%",
    "%all",
    "%root",
    "a b",
    " ",
    "ä",
    "a\u{308}",
    "Ä",
    "_",
    "~",
    "-",
    "\u{1f40e}",
];

async fn join(client: &mut Client, room: &str) {
    let joined = client.ask(json!({ "do": "subscribe", "room": room })).await;
    assert_eq!(joined, "done", "{room:?}");
}

/// A name as a part of a subject.
fn token(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let written = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    written.collect()
}

fn subject(tenant: &str, path: &str, room: &str) -> String {
    format!("tulpar.ns.{tenant}.{}.{}", token(path), token(room))
}

/// All that the nodes have subscribed to, but for what only they name: their replies.
async fn asked_for(nats: &Nats) -> Vec<String> {
    let all = nats.subscriptions().await.concat();
    all.into_iter()
        .filter(|it| !it.starts_with("tulpar.reply.") && !it.starts_with("tulpar.answer."))
        .collect()
}

#[tokio::test]
async fn r4_no_name_of_a_room_reaches_another_room() {
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut sender = connect(cluster[0].url("/commander")).await;
    let long = ["x".repeat(256), "€".repeat(85)];
    let rooms = || ROOMS.into_iter().chain(long.iter().map(String::as_str));
    let mut members = Vec::new();
    for room in rooms() {
        let mut member = connect(cluster[1].url("/commander")).await;
        join(&mut member, room).await;
        nats.until_heard_by(1, &subject("%root", "/commander", room))
            .await;
        members.push(member);
    }
    // What reaches another one in the first round is there before the second.
    for round in 0..2 {
        for room in rooms() {
            let text = format!("{round} to {room}");
            let told = json!({ "do": "to", "room": room, "message": text });
            assert_eq!(sender.ask(told).await, 0);
        }
        for (room, member) in rooms().zip(&mut members) {
            assert_eq!(member.recv_text().await, format!("{round} to {room}"));
        }
    }
    for member in &mut members {
        member.expect_nothing().await;
    }
    // Nobody has asked for more than what there is.
    for asked in asked_for(&nats).await {
        assert!(!asked.contains(['*', '>', ' ']), "{asked}");
    }
    // Nor does one find another's members.
    for room in rooms() {
        let told = json!({ "do": "call", "call": { "cluster-room-count": room } });
        assert_eq!(sender.ask(told).await["count"], 1, "{room:?}");
    }
}

#[tokio::test]
async fn r4_no_name_of_a_namespace_reaches_another_namespace() {
    const PATHS: [&str; 10] = [
        "/*", "/a", "/a/b", "/a.b", "/a.*", "/a/*", "/%2A", "/A", "/%root", "/a%2Fb",
    ];
    let Some(nats) = Nats::start() else { return };
    let mut nodes = Nodes::of(2, &nats);
    for (number, path) in PATHS.iter().enumerate() {
        let bytes = Mould::namespace(path).bytes();
        nodes = nodes.file(&format!("n{number}.wasm"), &bytes);
    }
    let cluster = nodes.join().await;
    let mut clients = Vec::new();
    for path in PATHS {
        let mut client = connect(cluster[1].url(path)).await;
        client.send("in").await;
        assert_eq!(client.recv_text().await, "in", "{path}");
        nats.until_heard_by(1, &format!("tulpar.all.%root.{}", token(path)))
            .await;
        clients.push(client);
    }
    for round in 0..2 {
        for path in PATHS {
            let told = json!({ "broadcast": [path, format!("{round} to {path}")] });
            assert_eq!(call(&cluster[0], "/desk", told).await, 0, "{path}");
        }
        for (path, client) in PATHS.iter().zip(&mut clients) {
            assert_eq!(client.recv_text().await, format!("{round} to {path}"));
        }
    }
    for client in &mut clients {
        client.send("out").await;
        assert_eq!(client.recv_text().await, "out");
    }
    for asked in asked_for(&nats).await {
        assert!(!asked.contains(['*', '>', ' ']), "{asked}");
    }
}

#[tokio::test]
async fn r4_no_name_of_a_tenant_reaches_another_tenant() {
    const TENANTS: [&str; 6] = ["a", "a.b", "b", "A", "~", "root"];
    let Some(nats) = Nats::start() else { return };
    let names = ["commander", "desk", "attach"];
    let nodes = Nodes::of(2, &nats);
    let nodes = TENANTS
        .iter()
        .fold(nodes, |it, tenant| it.tenant(tenant, &names));
    let cluster = nodes.join().await;
    let mut members = Vec::new();
    for tenant in TENANTS {
        let path = format!("/{tenant}/commander");
        let mut member = connect(cluster[1].url(&path)).await;
        join(&mut member, "red").await;
        let room = subject(&token(tenant), "/commander", "red");
        nats.until_heard_by(1, &room).await;
        members.push(member);
    }
    let mut root = connect(cluster[1].url("/commander")).await;
    join(&mut root, "red").await;
    nats.until_heard_by(1, &subject("%root", "/commander", "red"))
        .await;
    for round in 0..2 {
        for tenant in TENANTS {
            let told = json!({ "to": ["/commander", "red", format!("{round} of {tenant}")] });
            let desk = format!("/{tenant}/desk");
            assert_eq!(call(&cluster[0], &desk, told).await, 0);
            let told = json!({ "broadcast": ["/commander", format!("{round} all of {tenant}")] });
            assert_eq!(call(&cluster[0], &desk, told).await, 0);
        }
        for (tenant, member) in TENANTS.iter().zip(&mut members) {
            let mut got = [member.recv_text().await, member.recv_text().await];
            got.sort();
            let expected = ["all of", "of"].map(|it| format!("{round} {it} {tenant}"));
            assert_eq!(got, expected);
        }
    }
    for member in members.iter_mut().chain([&mut root]) {
        member.expect_nothing().await;
        let told = json!({ "do": "call", "call": { "cluster-room-count": "red" } });
        assert_eq!(member.ask(told).await["count"], 1);
    }
}

#[tokio::test]
async fn two_clusters_at_one_broker_never_hear_each_other() {
    const PREFIXES: [&str; 4] = ["tulpar", "tulpar.ns", "other", "tulpa"];
    let Some(nats) = Nats::start() else { return };
    let mut clusters = Vec::new();
    for prefix in PREFIXES {
        let nodes = Nodes::of(2, &nats).backplane(&format!("prefix = {prefix:?}"));
        clusters.push(nodes.join().await);
    }
    let mut rooms = Vec::new();
    for cluster in &clusters {
        rooms.push(cluster.members("/commander", "red").await);
    }
    for round in 0..2 {
        for (prefix, members) in PREFIXES.iter().zip(&mut rooms) {
            let text = format!("{round} {prefix}");
            let told = json!({ "do": "publish", "room": "red", "message": text });
            assert_eq!(members[0].ask(told).await, 0);
        }
        for (prefix, members) in PREFIXES.iter().zip(&mut rooms) {
            assert_eq!(members[1].recv_text().await, format!("{round} {prefix}"));
        }
    }
    for (cluster, members) in clusters.iter().zip(&mut rooms) {
        for member in members {
            member.expect_nothing().await;
            let told = json!({ "do": "call", "call": { "cluster-room-count": "red" } });
            let expected = json!({ "count": 2, "nodes": 2, "silent": 0 });
            assert_eq!(member.ask(told).await, expected);
        }
        for node in &cluster.nodes {
            knows(node, 2).await;
        }
    }
}

/// Two nodes, with a member of the room `red` on each, and what a publication of the first looks like at the broker.
async fn overheard() -> Option<(Nats, Cluster, Vec<Client>, NatsClient, Published)> {
    let nats = Nats::start()?;
    let cluster = Nodes::of(2, &nats).join().await;
    let mut members = cluster.members("/commander", "red").await;
    let mut stranger = NatsClient::of(&nats).await;
    stranger
        .subscribe(&subject("%root", "/commander", "red"))
        .await;
    let told = json!({ "do": "publish", "room": "red", "message": "overheard" });
    members[0].ask(told).await;
    assert_eq!(members[1].recv_text().await, "overheard");
    let published = stranger.next().await;
    assert!(published.payload.ends_with(b"overheard"));
    Some((nats, cluster, members, stranger, published))
}

#[tokio::test]
async fn v2_what_a_stranger_publishes_harms_nobody_and_is_counted() {
    let Some((nats, cluster, mut members, mut stranger, published)) = overheard().await else {
        return;
    };
    let genuine = published.payload;
    let malformed = || cluster[1].metric(r#"tulpar_backplane_lost_total{reason="malformed"}"#);
    let before = malformed();
    let mut wrong: Vec<Vec<u8>> = vec![Vec::new(), b"hello".to_vec(), vec![0; 10_000]];
    wrong.push(vec![0xff; 38]);
    // All beginnings of its head.
    wrong.extend((0..38).map(|length| genuine[..length].to_vec()));
    let room = subject("%root", "/commander", "red");
    for payload in &wrong {
        stranger.publish(&room, payload).await;
    }
    eventually("what makes no sense to be counted", async || {
        (malformed() - before == wrong.len() as u64).then_some(())
    })
    .await;
    // What may make sense or not: it may be heard, and no more.
    for at in 0..38 {
        let mut payload = genuine.clone();
        payload[at] ^= 0x55;
        for subject in [&room[..], "tulpar.all.%root.%2Fcommander"] {
            stranger.publish(subject, &payload).await;
        }
    }
    for subject in ["tulpar.alive", "tulpar.ask", "tulpar.ns", "tulpar.x"] {
        for payload in [&b""[..], b"\x01", b"\x00abc", b"\x01abcde", b"{}", &genuine] {
            stranger.publish(subject, payload).await;
        }
    }
    // All that goes on is as it was.
    for text in ["one", "two"] {
        let told = json!({ "do": "publish", "room": "red", "message": text });
        members[0].send(told.to_string()).await;
        skip_until(&mut members[0], r#"{"answer":0}"#).await;
        skip_until(&mut members[1], text).await;
    }
    nats.until_heard_by(3, &room).await;
    for node in &cluster.nodes {
        knows(node, 2).await;
    }
    cluster.has_not_panicked();
}

/// Reads up to this text, before which there is nothing but what was overheard.
async fn skip_until(client: &mut Client, text: &str) {
    loop {
        match client.recv().await {
            Some(Message::Text(got)) if got.as_str() == text => return,
            Some(Message::Text(got)) if got.as_str() == "overheard" => (),
            Some(Message::Binary(got)) if *got == b"overheard"[..] => (),
            other => panic!("waited for {text}, but got {other:?}"),
        }
    }
}

#[tokio::test]
async fn v2_what_arrives_twice_is_delivered_once() {
    let Some((_nats, _cluster, mut members, mut stranger, published)) = overheard().await else {
        return;
    };
    for _ in 0..3 {
        stranger
            .publish(&published.subject, &published.payload)
            .await;
    }
    hears_what_is_said_next(&mut members).await;
}

/// The next that the second hears is what the first says now.
async fn hears_what_is_said_next(members: &mut [Client]) {
    for text in ["one", "two"] {
        let told = json!({ "do": "publish", "room": "red", "message": text });
        members[0].ask(told).await;
        assert_eq!(members[1].recv_text().await, text);
    }
}

#[tokio::test]
async fn v2_more_than_a_tenant_can_deliver_in_its_share_waits_within_bounds_and_delays_no_other() {
    const AT_ONCE: usize = 1_000;
    const BYTES: usize = 10_000;
    const LAST: &str = "last";
    let Some(nats) = Nats::start() else { return };
    let quotas = "[tenant.acme]\nquotas = { cpu-ms-per-second = 50, queued-bytes = 1000000 }";
    let nodes = Nodes::of(2, &nats).tenant("acme", &["commander"]);
    let cluster = nodes.config(quotas).join().await;
    let mut flooded = cluster.members("/acme/commander", "red").await;
    let mut others = cluster.members("/commander", "red").await;
    let room = subject("acme", "/commander", "red");
    let mut stranger = NatsClient::of(&nats).await;
    stranger.subscribe(&room).await;
    let told = json!({ "do": "publish", "room": "red", "message": "x".repeat(BYTES) });
    flooded[0].ask(told).await;
    assert_eq!(flooded[1].recv_text().await.len(), BYTES);
    let mut forged = stranger.next().await.payload;
    // One that does not hear itself.
    let mut stranger = NatsClient::of(&nats).await;
    // Another node has sent it, which counts from one.
    forged[2..6].copy_from_slice(b"none");
    let head = forged.len() - BYTES;
    // The other one has said it, and does not hear it.
    let mut member = flooded.remove(1);
    let reader = tokio::spawn(async move {
        loop {
            match member.recv_or_end_some_time().await {
                Some(Message::Text(text)) if text.as_str() == LAST => return,
                Some(Message::Text(_)) => (),
                other => panic!("waited for the last, but got {other:?}"),
            }
        }
    });
    // One that does not wait for the broker, which is faster than any tenant with such a share.
    let mut flood = Raw::connect(nats.address()).await;
    flood.write(b"CONNECT {\"verbose\":false}\r\n").await;
    let mut number = 0_u64;
    eventually("what finds no room to be lost", async || {
        let mut bytes = Vec::new();
        for _ in 0..AT_ONCE {
            number += 1;
            forged[6..14].copy_from_slice(&number.to_be_bytes());
            bytes.extend(format!("PUB {room} {}\r\n", forged.len()).into_bytes());
            bytes.extend_from_slice(&forged);
            bytes.extend_from_slice(b"\r\n");
        }
        flood.write(&bytes).await;
        hears_what_is_said_next(&mut others).await;
        let lost = r#"tulpar_backplane_lost_total{reason="quota"}"#;
        (cluster[1].metric(lost) > 0).then_some(())
    })
    .await;
    // What comes when there is room again is delivered. When a delivery stands still for a second, that is twenty seconds'
    // share, and the tenant waits as long.
    forged.truncate(head);
    forged.extend(LAST.as_bytes());
    let end = Instant::now() + 4 * PATIENCE;
    while !reader.is_finished() {
        assert!(Instant::now() < end, "the last is not heard");
        number += 1;
        forged[6..14].copy_from_slice(&number.to_be_bytes());
        stranger.publish(&room, &forged).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reader.await.expect("it has heard the last");
    cluster.has_not_panicked();
}

#[tokio::test]
async fn v2_a_stranger_that_claims_to_be_a_thousand_nodes_is_forgotten() {
    let Some(nats) = Nats::start() else { return };
    // Who says nothing more is forgotten soon.
    let nodes = Nodes::of(2, &nats).backplane("heartbeat-ms = 300");
    let cluster = nodes.join().await;
    let mut member = connect(cluster[0].url("/commander")).await;
    let _other = connect(cluster[1].url("/commander")).await;
    let mut stranger = NatsClient::of(&nats).await;
    eventually("the last of them to be believed", async || {
        for number in 0..1_000_u32 {
            let mut claim = vec![1];
            claim.extend(number.to_be_bytes());
            stranger.publish("tulpar.alive", &claim).await;
        }
        let believed = cluster[0].stderr.with("node 000003e7 is there");
        (!believed.is_empty()).then_some(())
    })
    .await;
    eventually("them to be gone", async || {
        (cluster[0].metric("tulpar_backplane_nodes") == 2).then_some(())
    })
    .await;
    let told = json!({ "do": "call", "call": { "cluster-socket-count": [] } });
    let expected = json!({ "count": 2, "nodes": 2, "silent": 0 });
    eventually("the two nodes to be counted", async || {
        (member.ask(told.clone()).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r4_a_namespace_of_other_bytes_is_the_same_on_every_node() {
    // Nodes need not run the same file, as while one after the other gets a new one.
    let Some(nats) = Nats::start() else { return };
    let cluster = Nodes::of(2, &nats).join().await;
    let mut other = guest("commander");
    other.extend_from_slice(b"\x00\x05\x04more");
    cluster[1].drop_in("commander.wasm", &other);
    cluster[1].log_line(&["replaced commander.wasm"]);
    let mut members = cluster.members("/commander", "red").await;
    hears_what_is_said_next(&mut members).await;
    let told: Value = json!({ "do": "call", "call": { "cluster-room-count": "red" } });
    assert_eq!(members[1].ask(told).await["count"], 2);
}
