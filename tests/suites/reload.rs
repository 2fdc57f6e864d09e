//! SIGHUP: another configuration, while the server runs and sockets are open.

use std::fs;

use tulpar_tests::swap::{ask, generation};
use tulpar_tests::{
    Connect, Server, Signal, become_served, call, connect, eventually, get, guest, json,
};

/// Writes the server's configuration anew, has it read, and waits until the log says one time more what has come of it.
async fn reload_and(server: &Server, toml: &str, said: &str) {
    let before = server.stderr.with(said).len();
    fs::write(server.folder().join("tulpar.toml"), toml).expect("the file can be written");
    server.signal(Signal::HUP);
    eventually(said, async || {
        (server.stderr.with(said).len() > before).then_some(())
    })
    .await;
}

async fn reload(server: &Server, toml: &str) {
    reload_and(server, toml, "the configuration has been read again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_is_given_changes_with_its_sockets_open() {
    let server = Server::with(&["commander", "desk", "attach", "echo"])
        .config(
            "[plugin.desk.config]\ncolour = 'red'\n[plugin.commander.limits]\nrooms-per-socket = 1",
        )
        .start();
    let mut client = connect(server.url("/commander")).await;
    let mut other = connect(server.url("/echo")).await;
    let colour = async || call(&server, "/desk", json!({ "config": "colour" })).await;
    let subscribe = |room: &str| json!({ "do": "subscribe", "room": room });
    assert_eq!(colour().await, "red");
    assert_eq!(client.ask(subscribe("a")).await, "done");
    assert_ne!(client.ask(subscribe("b")).await, "done");
    reload(
        &server,
        "[plugin.desk.config]\ncolour = 'blue'\n[plugin.commander.limits]\nrooms-per-socket = 2",
    )
    .await;
    server.log_line(&["commander.wasm begins anew with other settings"]);
    assert_eq!(colour().await, "blue");
    // The same socket, in the room that it was in.
    assert_eq!(client.ask(subscribe("b")).await, "done");
    assert_eq!(
        client.ask(json!({ "do": "rooms" })).await,
        json!(["a", "b"])
    );
    other.send("still here").await;
    assert_eq!(other.recv_text().await, "still here");
    assert_eq!(server.stderr.with("echo.wasm begins anew"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_whole_server_restart_no_plugin() {
    let server = Server::with(&["commander"]).start();
    reload(
        &server,
        "[limits]\nconnections = 50\nconnections-per-address = 50\nrequest-headers = 50\nmax-plugin-bytes = 20000000",
    )
    .await;
    assert_eq!(server.stderr.with("begins anew"), [""; 0]);
    reload(&server, "[limits]\nconnections = 50\nhandles = 50").await;
    server.log_line(&["commander.wasm begins anew with other settings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_origins_hold_for_whoever_comes_next() {
    let server = Server::with(&["echo"])
        .config("[limits]\nmax-message-bytes = 10")
        .start();
    let mut before = connect(server.url("/echo")).await;
    before.send("a").await;
    assert_eq!(before.recv_text().await, "a");
    reload(
        &server,
        "dev = true\n[limits]\nmax-message-bytes = 20\nconnections = 2\n[sockets]\norigins = ['https://a']",
    )
    .await;
    let after = Connect::to(server.url("/echo")).header("Origin", "https://a");
    let mut after = after.open().await;
    after.send("x".repeat(20)).await;
    assert_eq!(after.recv_text().await, "x".repeat(20));
    // There are two now.
    assert_eq!(get(server.address(), "/").await.status, 503);
    before.send("x".repeat(11)).await;
    assert_eq!(before.expect_close().await.0, 1009);
    drop(before);
    eventually("the page for development", async || {
        (get(server.address(), "/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_what_is_wrong_changes_nothing() {
    let toml = "[limits]\nmax-message-bytes = 10";
    let server = Server::with(&["echo"]).config(toml).start();
    for wrong in [
        "[limits]\nmax-message-bytes = 'many'",
        "[limits]\nmax-message-byte = 30",
        "[limits]\nmax-message-bytes = 30\n[tls]\nkey = 'k'",
        "no TOML",
    ] {
        reload_and(&server, wrong, "the configuration stays as it is").await;
    }
    let mut client = connect(server.url("/echo")).await;
    client.send("x".repeat(11)).await;
    assert_eq!(client.expect_close().await.0, 1009);
    reload(
        &server,
        "[limits]\nmax-message-bytes = 12\ninstances = 7\n[quotas]\nrooms = 3",
    )
    .await;
    for setting in ["limits.instances", "quotas"] {
        server.log_line(&[&format!("{setting} has changed: needs a restart")]);
    }
    let mut client = connect(server.url("/echo")).await;
    client.send("x".repeat(12)).await;
    assert_eq!(client.recv_text().await, "x".repeat(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_missed_and_not_taken_for_none() {
    // It is named by nobody, and found where the server runs.
    let server = Server::with(&["echo"]).start();
    let toml = "[limits]\nmax-message-bytes = 10";
    reload(&server, toml).await;
    fs::remove_file(server.folder().join("tulpar.toml")).expect("it is there");
    server.signal(Signal::HUP);
    server.log_line(&[
        "the configuration stays as it is",
        "cannot read",
        "tulpar.toml",
    ]);
    let mut client = connect(server.url("/echo")).await;
    client.send("x".repeat(11)).await;
    assert_eq!(client.expect_close().await.0, 1009);
    reload(&server, toml).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_what_is_taken_from_a_plugin_is_gone_though_it_does_not_take_over() {
    let unwilling = generation(1).set("reload", json!("error")).bytes();
    let server = Server::with(&[]).file("swap.wasm", &unwilling).start();
    let mut client = connect(server.url("/swap")).await;
    for seen in [1, 2] {
        assert_eq!(ask(&mut client, "a").await["seen"], seen);
    }
    reload(&server, "[plugin.swap.limits]\nhandles = 5").await;
    server.log_line(&["swap.wasm begins anew with other settings, without what it had"]);
    eventually("another instance", async || {
        (ask(&mut client, "b").await["seen"].as_u64()? < 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_what_was_refused_for_a_setting_is_served_when_that_is_another() {
    let size = guest("echo").len();
    let limit = |bytes: usize| format!("[limits]\nmax-plugin-bytes = {bytes}");
    let server = Server::with(&["echo"]).config(&limit(size - 1)).start();
    server.log_line(&["refused", "echo.wasm", "limits.max-plugin-bytes"]);
    reload(&server, &limit(size)).await;
    become_served(&server, "/echo").await;
}
