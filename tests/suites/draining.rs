//! How a server stops without its clients losing anything: rule V1.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Connect, Message, Mould, Opcode, PATIENCE, Raw, Server, Signal, connect, eventually,
    frame, get, json, within,
};

/// As many milliseconds as no test takes.
const AGES: u32 = 1_000_000;

/// Waits until whoever watches the server sees that it is alive.
async fn is_alive(server: &Server) {
    eventually("the server to be alive", async || {
        (server.admin_status("/live") == Some(200)).then_some(())
    })
    .await;
}

/// Waits until whoever watches the server sees that it is not ready.
async fn is_unready(server: &Server) {
    eventually("the server to be unready", async || {
        (server.admin_status("/ready") == Some(503)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn v1_readiness_goes_before_anything_else_does() {
    let server = Server::with(&["commander"])
        .config(&format!(
            "[timeouts]\nunready-ms = {AGES}\ngrace-ms = {}",
            2 * AGES
        ))
        .start();
    eventually("the server to be ready", async || {
        (server.admin_status("/ready") == Some(200)).then_some(())
    })
    .await;
    assert_eq!(server.admin_status("/live"), Some(200));
    server.signal(Signal::TERM);
    is_unready(&server).await;
    // Who comes all the same is served as ever.
    let mut client = connect(server.url("/commander")).await;
    assert_eq!(client.ask(json!({ "do": "rooms" })).await, json!([]));

    // As long as the time for that lasts, and no longer.
    let unready = Duration::from_millis(1000);
    let mut server = Server::with(&["commander"])
        .config("[timeouts]\nunready-ms = 1000\nclose-ms = 60000\ngrace-ms = 60000")
        .start();
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "rooms" })).await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    // When the machine is busy, the time may be over before this one is there.
    let late = Connect::to(server.url("/commander")).if_it_listens().await;
    assert_eq!(client.expect_close().await.0, 1001);
    let taken = asked.elapsed();
    assert!(taken >= unready, "they are closed after {taken:?}");
    if let Some(mut late) = late {
        assert_eq!(late.expect_close().await.0, 1001);
    }
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_a_server_that_is_to_stop_while_its_services_start_is_never_ready() {
    // One whose service is to start for so long.
    let start = |start_ms: u32, unready_ms: u32| {
        let service = Mould::service(&[]).set("reload", "loop".into());
        let limits =
            format!("deadline-ms = 20000\njob-deadline-ms = {start_ms}\ncompute-ms = {start_ms}");
        let grace_ms = 2 * AGES;
        Server::with(&[])
            .file("slow.wasm", &service.bytes())
            .config(&format!(
                "[timeouts]\nunready-ms = {unready_ms}\ngrace-ms = {grace_ms}\n[limits]\n{limits}"
            ))
            .start()
    };
    // Not while it starts.
    let starting = start(AGES, AGES);
    is_alive(&starting).await;
    assert_eq!(starting.admin_status("/ready"), Some(503));
    starting.signal(Signal::TERM);
    assert_eq!(starting.admin_status("/ready"), Some(503));
    drop(starting);

    // Nor when it has started; unless that is before it hears that it is to stop, and then no longer than that.
    let (started, mut stopping) = (start(1000, AGES), start(1000, 1500));
    for server in [&started, &stopping] {
        is_alive(server).await;
        server.signal(Signal::TERM);
    }
    started.log_line(&["service Moulded: on-start"]);
    // It answers from when they have started.
    assert_eq!(get(started.address(), "/nowhere").await.status, 404);
    is_unready(&started).await;
    // One that is to be unready for less long stops then.
    stopping.log_line(&["service Moulded: on-start"]);
    assert_eq!(stopping.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_sockets_are_closed_in_batches_and_meanwhile_the_server_is_seen_alive() {
    const CLIENTS: u32 = 20;
    const OVER: Duration = Duration::from_millis(1000);
    let mut server = Server::with(&["commander"])
        .config("[timeouts]\ndrain-ms = 1000\nclose-ms = 60000\ngrace-ms = 60000")
        .start();
    let mut clients = Vec::new();
    for _ in 1..CLIENTS {
        let mut client = connect(server.url("/commander")).await;
        client.ask(json!({ "do": "rooms" })).await;
        clients.push(client);
    }
    // The last one has the server wait for its close frame.
    let mut slow = Raw::upgraded(server.address(), "/commander").await;
    slow.send(frame(Opcode::Text, br#"{"do":"rooms"}"#)).await;
    slow.frame().await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let closed = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            assert_eq!(client.expect_close().await.0, 1001);
            asked.elapsed()
        })
    });
    let closed: Vec<_> = closed.collect();
    // Whoever watches it sees that it is alive, and not ready.
    is_unready(&server).await;
    assert_eq!(server.admin_status("/live"), Some(200));
    assert_eq!(slow.close_frame().await.0, 1001);
    slow.send(frame(Opcode::Close, &1001_u16.to_be_bytes()))
        .await;
    drop(slow);
    let mut times = Vec::new();
    for closed in closed {
        times.push(closed.await.expect("it is closed with 1001"));
    }
    times.sort();
    // One in each of the twenty rounds; a machine that is busy may make them late, but never early.
    for (index, time) in (0..CLIENTS).zip(&times) {
        let earliest = OVER * index / CLIENTS;
        assert!(
            *time + Duration::from_millis(10) > earliest,
            "the one of number {index} was closed after {time:?}"
        );
    }
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

// The clients go on while this one waits for a process.
#[tokio::test(flavor = "multi_thread")]
async fn v1_a_rolling_restart_loses_no_message_that_was_answered() {
    const CLIENTS: usize = 8;
    let stores = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let start = |node: usize, address: Option<SocketAddr>| {
        // A disk may take its time for what is kept.
        let timeouts = "unready-ms = 100\ndrain-ms = 200\ngrace-ms = 60000";
        let server = Server::with(&["commander"])
            .config(&format!(
                "[timeouts]\n{timeouts}\n[limits]\ndeadline-ms = 20000"
            ))
            .env("TULPAR_STORE", path(stores[node].path()));
        match address {
            Some(address) => server.listen(address).start(),
            None => server.start(),
        }
    };
    let mut nodes = [start(0, None), start(1, None)];
    let addresses = [nodes[0].address(), nodes[1].address()];
    let stop = Arc::new(AtomicBool::new(false));
    let kept = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(chat(number, addresses, stop.clone(), kept.clone())))
        .collect();
    for node in 0..2 {
        eventually("the other to be ready", async || {
            (nodes[1 - node].admin_status("/ready") == Some(200)).then_some(())
        })
        .await;
        nodes[node].signal(Signal::TERM);
        assert_eq!(nodes[node].wait_exit(PATIENCE).code(), Some(0));
        nodes[node] = start(node, Some(addresses[node]));
        // Some come back before the next one goes.
        eventually("somebody to come back", async || {
            let response = get(addresses[node], "/commander").await;
            (response.status == 426).then_some(())
        })
        .await;
    }
    eventually("enough messages to be answered", async || {
        (kept.load(Ordering::Relaxed) > 10 * CLIENTS).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut observers = [
        connect(nodes[0].url("/commander")).await,
        connect(nodes[1].url("/commander")).await,
    ];
    for client in clients {
        for (node, key) in client.await.expect("it chats to the end") {
            let told = json!({ "do": "call", "call": { "kv-get": ["b", key] } });
            assert_eq!(observers[node].ask(told).await, "kept", "{key} of {node}");
        }
    }
}

/// Has each message kept until it is to stop, by whichever node takes it, and counts them. Returns the keys whose keeping
/// was answered, and the node that did.
async fn chat(
    number: usize,
    addresses: [SocketAddr; 2],
    stop: Arc<AtomicBool>,
    kept: Arc<AtomicUsize>,
) -> Vec<(usize, String)> {
    let mut answered = Vec::new();
    let mut node = number % 2;
    while !stop.load(Ordering::Relaxed) {
        let url = format!("ws://{}/commander", addresses[node]);
        let Some(mut client) = Connect::to(url).if_it_listens().await else {
            node = 1 - node;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let key = format!("{number}-{}", answered.len());
            if !keep(&mut client, &key).await {
                break;
            }
            answered.push((node, key));
            kept.fetch_add(1, Ordering::Relaxed);
        }
        node = 1 - node;
    }
    answered
}

/// Has a key kept. Returns whether that was answered; not when the connection was closed in order before.
async fn keep(client: &mut Client, key: &str) -> bool {
    let told = json!({ "do": "call", "call": { "kv-set": ["b", key, "kept"] } });
    client.try_send(told.to_string()).await;
    let got = within("an answer or the end", client.recv_or_end()).await;
    match got {
        Some(Message::Text(text)) if text.as_str() == r#"{"answer":null}"# => true,
        Some(Message::Close(frame)) => {
            assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1001));
            false
        }
        None => false,
        Some(other) => panic!("not what was asked for: {other:?}"),
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("it is UTF-8")
}
