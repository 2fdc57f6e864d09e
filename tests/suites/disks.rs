//! Disks that are full: the server goes on, says so, and works again when there is room. Rule V2.
//!
//! A small file system in memory is filled up for that. Where this user may not mount one, these tests say `SKIPPED`.

use tulpar_tests::{Mould, Server, SmallDisk, Value, connect, json};

#[tokio::test]
async fn v2_a_store_on_a_full_disk_fails_and_recovers() {
    let Some(disk) = SmallDisk::of(16 << 20) else {
        return;
    };
    let config = format!("store = {:?}", disk.path());
    let server = Server::with(&["commander", "echo"]).config(&config).start();
    let mut client = connect(server.url("/commander")).await;
    let set = |key: &str| json!({ "do": "call", "call": { "kv-set-of": ["b", key, 100_000] } });
    assert_eq!(client.ask(set("first")).await, Value::Null);
    disk.fill(300_000);
    let mut kept = vec!["first".to_owned()];
    let failure = loop {
        let key = format!("k{}", kept.len());
        let answer = client.ask(set(&key)).await;
        if answer != Value::Null {
            break answer;
        }
        kept.push(key);
        assert!(kept.len() < 100, "the disk is never full");
    };
    assert!(failure["error"].is_string(), "{failure}");
    let folder = disk.path().to_string_lossy().into_owned();
    assert!(!failure.to_string().contains(&folder), "{failure}");
    server.log_line(&["No space left on device"]);

    // What is kept can be read, and who keeps nothing notices nothing.
    let exists = |key: &str| json!({ "do": "call", "call": { "kv-exists": ["b", key] } });
    for key in &kept {
        assert_eq!(client.ask(exists(key)).await, true, "{key}");
    }
    let mut other = connect(server.url("/echo")).await;
    other.send("hello").await;
    assert_eq!(other.recv_text().await, "hello");

    disk.clear();
    assert_eq!(client.ask(set("later")).await, Value::Null);
    kept.push("later".to_owned());
    for key in &kept {
        assert_eq!(client.ask(exists(key)).await, true, "{key}");
    }
    server.has_not_panicked();
    drop(server);
    let server = Server::with(&["commander"]).config(&config).start();
    let mut client = connect(server.url("/commander")).await;
    for key in &kept {
        assert_eq!(client.ask(exists(key)).await, true, "{key}");
    }
}

#[tokio::test]
async fn v2_a_plugin_is_served_though_the_disk_for_its_code_is_full() {
    let Some(disk) = SmallDisk::of(64 << 10) else {
        return;
    };
    let server = Server::with(&["echo"]).cache(disk.path()).start();
    server.log_line(&["cannot cache compiled code", "No space left on device"]);
    let mut client = connect(server.url("/echo")).await;
    client.send("hello").await;
    assert_eq!(client.recv_text().await, "hello");
    // Nothing half-written is left, which would never go.
    let left = std::fs::read_dir(disk.path()).expect("the folder is there");
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn v2_a_plugin_is_replaced_though_the_disk_for_what_is_kept_of_it_is_full() {
    let Some(disk) = SmallDisk::of(4 << 20) else {
        return;
    };
    let server = Server::with(&[])
        .file("swap.wasm", &Mould::reloaded("/swap", "1").bytes())
        .config(&format!("state = {:?}", disk.path()))
        .start();
    let mut client = connect(server.url("/swap")).await;
    client.send("which?").await;
    assert_eq!(client.recv_json().await["generation"], "1");
    disk.fill(0);
    server.drop_in("swap.wasm", &Mould::reloaded("/swap", "2").bytes());
    server.log_line(&["cannot be rolled back later", "No space left on device"]);
    assert_eq!(client.recv_json().await["reloaded"], "2");
    // What would be forgotten is not done.
    let refused = server.tulpar(&["plugins", "disable", "swap"]);
    let refused = refused.expect_err("it cannot be written down");
    assert!(refused.contains("No space left on device"), "{refused}");
    client.send("which?").await;
    assert_eq!(client.recv_json().await["generation"], "2");

    disk.clear();
    let disabled = server.tulpar(&["plugins", "disable", "swap"]);
    disabled.expect("there is room again");
    assert_eq!(client.expect_close().await.0, 1001);
    server.has_not_panicked();
}
