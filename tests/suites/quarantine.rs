//! Plugins that keep failing are left alone for a while: the last part of rule C6.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Connect, Mould, Server, connect, eventually, expect_echo, expect_handler_error, get,
    guest, json, scripted,
};

const RULES: &str = "[limits]\nquarantine-failures = 3\n[timeouts]\nquarantine-ms = 1500";
/// The same for longer than anybody waits.
const LONG: &str = "[limits]\nquarantine-failures = 3\n[timeouts]\nquarantine-ms = 60000";

fn server(rules: &str) -> Server {
    Server::with(&["commander", "echo"]).config(rules).start()
}

/// Has the commander trap so often.
async fn trap(server: &Server, times: usize) {
    for _ in 0..times {
        let mut client = connect(server.url("/commander")).await;
        client
            .send(json!({ "do": "panic", "text": "boom" }).to_string())
            .await;
        expect_handler_error(&mut client).await;
    }
}

#[tokio::test]
async fn c6_after_so_many_traps_nobody_is_let_in_for_a_while() {
    let server = server(LONG);
    trap(&server, 2).await;
    assert_eq!(get(server.address(), "/commander").await.status, 426);
    trap(&server, 1).await;
    let refused = Connect::to(server.url("/commander")).refused().await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.text(), r#"{"error":"Service Unavailable"}"#);
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=60).contains(&after), "{after}");
    server.log_line(&["in quarantine for 60000 ms", "commander.wasm"]);
    expect_echo(&server, "/echo").await;
}

#[tokio::test]
async fn c6_it_is_over_after_its_time_and_the_next_one_is_longer() {
    let server = server(RULES);
    trap(&server, 2).await;
    // Before the one that brings it about, as it has begun when the client hears of that.
    let begun = Instant::now();
    trap(&server, 1).await;
    eventually("the end of it", async || {
        Connect::to(server.url("/commander")).attempt().await.ok()
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    server.log_line(&["in quarantine for 1500 ms", "commander.wasm"]);
    trap(&server, 3).await;
    server.log_line(&["in quarantine for 3000 ms", "commander.wasm"]);
}

#[tokio::test]
async fn c6_open_sockets_wait_for_the_end_of_it_and_lose_nothing() {
    let server = server(RULES);
    let mut bystander = connect(server.url("/commander")).await;
    bystander
        .ask(json!({ "do": "subscribe", "room": "here" }))
        .await;
    trap(&server, 2).await;
    let begun = Instant::now();
    trap(&server, 1).await;
    for number in 0..3 {
        bystander.send(number.to_string()).await;
    }
    for number in 0..3 {
        assert_eq!(bystander.recv_text().await, number.to_string());
    }
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(1500), "{taken:?}");
    assert_eq!(
        bystander.ask(json!({ "do": "rooms" })).await,
        json!(["here"])
    );
}

#[tokio::test]
async fn c6_a_new_file_ends_it() {
    let server = server(LONG);
    trap(&server, 3).await;
    assert_eq!(get(server.address(), "/commander").await.status, 503);
    let mut other = guest("commander");
    other.extend_from_slice(b"\x00\x05\x04more");
    server.drop_in("commander.wasm", &other);
    eventually("the end of it", async || {
        (get(server.address(), "/commander").await.status == 426).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c6_the_operator_ends_it() {
    let server = server(LONG);
    trap(&server, 3).await;
    let list = server.tulpar(&["plugins"]).expect("it lists");
    let row = list.lines().find(|line| line.starts_with("commander"));
    assert!(row.is_some_and(|row| row.contains("quarantined")), "{list}");
    server
        .tulpar(&["plugins", "release", "commander"])
        .expect("it obeys");
    assert_eq!(get(server.address(), "/commander").await.status, 426);
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn c6_errors_that_a_handler_returns_are_not_counted() {
    let server = server(RULES);
    for _ in 0..5 {
        let mut client = connect(server.url("/commander")).await;
        client
            .send(json!({ "do": "fail", "text": "no" }).to_string())
            .await;
        expect_handler_error(&mut client).await;
    }
    assert_eq!(get(server.address(), "/commander").await.status, 426);
}

#[tokio::test]
async fn c6_a_middleware_in_quarantine_lets_nobody_pass() {
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&["echo"])
        .file("gate.wasm", &Mould::middleware("gate").bytes())
        .file("gated.wasm", &gated.bytes())
        .config(LONG)
        .start();
    expect_echo(&server, "/gated").await;
    let steps = json!([{ "do": "panic", "text": "boom" }]).to_string();
    for _ in 0..3 {
        let failed = Connect::to(server.url("/gated")).header("x-gate", &steps);
        assert_eq!(failed.refused().await.status, 500);
    }
    let refused = Connect::to(server.url("/gated")).refused().await;
    assert_eq!(refused.status, 503);
    expect_echo(&server, "/echo").await;
}

#[tokio::test]
async fn c6_an_on_close_that_always_fails_keeps_no_place_and_no_server() {
    const MANY: usize = 40;
    let mut server = Server::with(&["scripted", "attach", "echo"])
        .config(RULES)
        .env("TULPAR_LIMITS_CONNECTIONS_PER_ADDRESS", &MANY.to_string())
        .start();
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let close = json!({ "close": [{ "do": "panic", "text": "boom" }] });
        clients.push(scripted(&server, close).await);
    }
    drop(clients);
    server.log_line(&["in quarantine", "scripted.wasm"]);
    // As many come again at once, though on-close of most of the others has still to run.
    let mut others = Vec::new();
    for _ in 0..MANY {
        let other = eventually("a place", async || {
            Connect::to(server.url("/echo")).attempt().await.ok()
        });
        others.push(other.await);
    }
    server.signal(tulpar_tests::Signal::TERM);
    // While this thread waits for the server, they would answer no close frame.
    drop(others);
    assert!(server.wait_exit(tulpar_tests::PATIENCE).success());
}

#[tokio::test]
async fn v1_a_server_with_a_plugin_in_quarantine_stops_in_order() {
    let mut server = server(LONG);
    let mut bystanders: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let mut client = connect(server.url("/commander")).await;
        client.ask(json!({ "do": "nothing" })).await;
        bystanders.push(client);
    }
    trap(&server, 3).await;
    bystanders[0].send("held").await;
    server.signal(tulpar_tests::Signal::TERM);
    assert_eq!(bystanders[1].expect_close().await.0, 1001);
    drop(bystanders);
    assert!(server.wait_exit(tulpar_tests::PATIENCE).success());
}
