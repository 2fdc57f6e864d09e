//! The admin address: what it tells of plugins, namespaces, sockets, rooms and the log, and what can be done there.

use tulpar_tests::{
    Client, Connect, Mould, Operator, Request, Server, connect, eventually, expect_not_served, json,
};

const ADDRESS: &str = "[admin]\nlisten = '127.0.0.1:0'";
const UPLOADS: &str = "[admin]\nlisten = '127.0.0.1:0'\nuploads = true";

fn server() -> (Server, Operator) {
    let server = Server::with(&["commander"]).config(ADDRESS).start();
    let operator = Operator::of(&server);
    (server, operator)
}

/// A client of the commander, and its id.
async fn client(server: &Server) -> (Client, String) {
    let mut client = connect(server.url("/commander")).await;
    let id = client.ask(json!({ "do": "id" })).await;
    (client, id.as_str().expect("it is a text").to_owned())
}

async fn echoes(client: &mut Client, text: &str) {
    client.send(text).await;
    assert_eq!(client.recv_text().await, text);
}

async fn join(client: &mut Client, rooms: impl IntoIterator<Item = String>) {
    let rooms = rooms.into_iter();
    let joins: Vec<_> = rooms
        .map(|room| json!({ "do": "subscribe", "room": room }))
        .collect();
    let done = vec!["done"; joins.len()];
    assert_eq!(client.ask(json!(joins)).await, json!(done));
}

#[tokio::test]
async fn the_overview_tells_the_server_its_plugins_and_their_namespaces() {
    let server = Server::with(&["commander"])
        .tenant("acme", &["echo"])
        .config(ADDRESS)
        .start();
    let operator = Operator::of(&server);
    let (mut client, _) = client(&server).await;
    join(&mut client, ["a".to_owned(), "b".to_owned()]).await;
    let overview = operator.get("/api/overview").await;
    assert_eq!(overview["server"]["ready"], true);
    assert_eq!(overview["server"]["uploads"], false);
    assert_eq!(overview["server"]["dev"], false);
    let address = format!("http://{}", server.address());
    assert_eq!(overview["server"]["address"], address);
    assert_eq!(overview["plugins"][0]["name"], "acme/echo");
    assert_eq!(overview["plugins"][1]["status"], "serving");
    let namespaces = &overview["namespaces"];
    assert_eq!(namespaces[0]["path"], "/commander");
    assert_eq!(namespaces[0]["tenant"], json!(null));
    let plugin = &overview["plugins"][1];
    assert_eq!(plugin["namespace"], "/commander");
    assert_eq!(plugin["sockets"], 1);
    assert_eq!(plugin["uses"]["rooms"], 2);
    assert_eq!(plugin["messages"]["received"], 2);
    assert_eq!(namespaces[1]["path"], "/acme/echo");
    assert_eq!(namespaces[1]["tenant"], "acme");
    assert_eq!(namespaces[1]["plugin"], "acme/echo");
    let listed = operator.get("/api/plugins").await;
    assert_eq!(listed[0]["name"], "acme/echo");
}

#[tokio::test]
async fn the_same_is_on_the_unix_socket() {
    let (server, _) = server();
    for path in [
        "/live",
        "/ready",
        "/metrics",
        "/api/overview",
        "/api/plugins",
        "/",
    ] {
        eventually(path, async || {
            (server.admin_status(path) == Some(200)).then_some(())
        })
        .await;
    }
    for path in [
        "/nowhere",
        "/plugins",
        "/api",
        "/api/nothing",
        "/../main.js",
    ] {
        assert_eq!(server.admin_status(path), Some(404), "{path}");
    }
}

#[tokio::test]
async fn a_socket_is_told_with_its_rooms_and_values() {
    let (server, operator) = server();
    let (mut client, id) = client(&server).await;
    join(&mut client, ["b".to_owned(), "a & b".to_owned()]).await;
    client
        .ask(json!({ "do": "set-data", "value": { "user": "<ada>" } }))
        .await;
    let listed = operator.get("/api/sockets?namespace=/commander").await;
    assert_eq!(
        (&listed["total"], &listed["next"]),
        (&json!(1), &json!(null))
    );
    let socket = &listed["items"][0];
    assert_eq!(socket["id"], id.as_str());
    assert_eq!(socket["address"], "127.0.0.1");
    assert_eq!(socket["state"], "open");
    let socket = operator
        .get(&format!("/api/socket?namespace=/commander&id={id}"))
        .await;
    assert_eq!(socket["rooms"]["items"], json!(["a & b", "b"]));
    assert_eq!(socket["values"], r#"{"user":"<ada>"}"#);
    let rooms = operator.get("/api/rooms?namespace=/commander").await;
    assert_eq!(rooms["items"][0], json!({ "name": "a & b", "members": 1 }));
    let members = "/api/sockets?namespace=/commander&room=a+%26+b";
    assert_eq!(operator.get(members).await["items"][0]["id"], id.as_str());
    let members = "/api/sockets?namespace=/commander&room=nobody";
    assert_eq!(operator.get(members).await["total"], 0);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let (server, operator) = server();
    let (_client, id) = client(&server).await;
    let other = format!("{}0", &id[..39]);
    for (path, status) in [
        ("/api/sockets?namespace=/nowhere".to_owned(), 404),
        ("/api/sockets".to_owned(), 404),
        ("/api/rooms?namespace=commander".to_owned(), 404),
        (format!("/api/socket?namespace=/commander&id={other}"), 404),
        ("/api/socket?namespace=/commander&id=nobody".to_owned(), 400),
        ("/api/sockets?namespace=/commander&after=x".to_owned(), 400),
    ] {
        // One of sixteen ids ends so.
        if id != other {
            assert_eq!(
                operator.send(Request::get(&path)).await.status,
                status,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn many_sockets_and_rooms_come_two_hundred_at_a_time() {
    let (server, operator) = server();
    let (mut client, _) = client(&server).await;
    join(
        &mut client,
        (0..401).map(|number| format!("room {number:03}")),
    )
    .await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(self::client(&server).await);
    }
    for (what, key, sizes) in [
        ("sockets", "id", &[200, 1][..]),
        ("rooms", "name", &[200, 200, 1]),
    ] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        for size in sizes {
            let path = format!("/api/{what}?namespace=/commander&after={after}");
            let page = operator.get(&path.replace(' ', "+")).await;
            assert_eq!(page["total"], sizes.iter().sum::<i32>());
            let items = page["items"].as_array().expect("it is a list");
            assert_eq!(items.len(), *size as usize, "{what}");
            seen.extend(
                items
                    .iter()
                    .map(|item| item[key].as_str().map(str::to_owned)),
            );
            after = page["next"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!(after, "", "{what}");
        assert!(seen.is_sorted_by(|a, b| a < b), "{what}: {seen:?}");
    }
    let found = operator
        .get("/api/rooms?namespace=/commander&search=m+39")
        .await;
    assert_eq!(
        (&found["total"], &found["matching"]),
        (&json!(401), &json!(10))
    );
    let id = &clients[7].1;
    let found = operator
        .get(&format!("/api/sockets?namespace=/commander&search={id}"))
        .await;
    assert_eq!(
        (&found["matching"], &found["items"][0]["id"]),
        (&json!(1), &json!(id))
    );
}

#[tokio::test]
async fn the_operator_sends_to_a_socket_and_moves_it() {
    let (server, operator) = server();
    let (mut client, id) = client(&server).await;
    let order = async |what| {
        let mut order: serde_json::Value = what;
        order["namespace"] = json!("/commander");
        order["id"] = json!(id);
        operator.order("/api/sockets", order).await
    };
    order(json!({ "action": "send", "text": "hello, ä" }))
        .await
        .expect("it is sent");
    assert_eq!(client.recv_text().await, "hello, ä");
    let line = server.log_line(&["the operator sends 9 bytes to it"]);
    assert!(line.contains(&id) && !line.contains("hello"), "{line}");
    order(json!({ "action": "join", "room": "lobby" }))
        .await
        .expect("it joins");
    assert_eq!(client.ask(json!({ "do": "rooms" })).await, json!(["lobby"]));
    order(json!({ "action": "leave", "room": "lobby" }))
        .await
        .expect("it leaves");
    assert_eq!(client.ask(json!({ "do": "rooms" })).await, json!([]));
    for (wrong, status, why) in [
        (
            json!({ "action": "leave", "room": "lobby" }),
            409,
            "not in \"lobby\"",
        ),
        (
            json!({ "action": "join", "room": "" }),
            409,
            "1 to 256 bytes",
        ),
        (
            json!({ "action": "kick", "code": 1005 }),
            400,
            "no code to close",
        ),
        (
            json!({ "action": "kick", "code": 1000, "reason": "x".repeat(124) }),
            400,
            "123 bytes",
        ),
        (json!({ "action": "kick", "code": 99999 }), 400, "u16"),
        (json!({ "action": "dance" }), 400, "dance"),
        (json!({}), 400, "action"),
        (
            json!({ "action": "send", "text": "x".repeat(128 << 10) }),
            413,
            "longer than",
        ),
    ] {
        let (said, text) = order(wrong.clone()).await.expect_err("it is wrong");
        assert!(
            said == status && text.contains(why),
            "{wrong}: {said} {text}"
        );
    }
    order(json!({ "action": "kick", "code": 4001, "reason": "enough" }))
        .await
        .expect("it goes");
    assert_eq!(client.expect_close().await, (4001, "enough".to_owned()));
    eventually("the socket to be gone", async || {
        let again = order(json!({ "action": "kick" })).await;
        (again.expect_err("it goes").0 == 404).then_some(())
    })
    .await;
    server.log_line(&["the operator closes it with 4001", "enough", &id]);
    server.has_not_panicked();
}

#[tokio::test]
async fn a_message_may_be_as_long_as_the_plugins_limit() {
    let server = Server::with(&["commander"])
        .config(&format!("{ADDRESS}\n[limits]\nmax-message-bytes = 100"))
        .start();
    let operator = Operator::of(&server);
    let (mut client, id) = client(&server).await;
    let send = async |length| {
        let text = "x".repeat(length);
        let order = json!({ "namespace": "/commander", "id": id, "action": "send", "text": text });
        operator.order("/api/sockets", order).await
    };
    send(100).await.expect("it is sent");
    assert_eq!(client.recv_text().await.len(), 100);
    assert_eq!(send(101).await.expect_err("it is too long").0, 400);
}

#[tokio::test]
async fn the_log_about_a_plugin_is_told_from_where_one_has_read() {
    let (server, operator) = server();
    let (mut client, _) = client(&server).await;
    let text = "<script>alert(1)</script>\u{1b}[31m";
    client
        .ask(json!({ "do": "log", "level": "warn", "text": text }))
        .await;
    client
        .ask(json!({ "do": "log", "level": "debug", "text": "hidden" }))
        .await;
    let lines = async |after: u64| {
        let path = format!("/api/log?plugin=commander&after={after}");
        let log = operator.get(&path).await;
        log["lines"].as_array().expect("it is a list").clone()
    };
    let first = lines(0).await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["level"], "WARN");
    assert_eq!(first[0]["text"], "<script>alert(1)</script>\u{fffd}[31m");
    let number = first[0]["number"].as_u64().expect("it is a number");
    assert!(lines(number).await.is_empty());
    let (mut other, _) = self::client(&server).await;
    other
        .send(json!({ "do": "fail", "text": "on purpose" }).to_string())
        .await;
    let next = eventually("the line about the failure", async || {
        lines(number).await.into_iter().next()
    })
    .await;
    let text = next["text"].as_str().expect("it is a text");
    assert!(
        text.contains("on-message") && text.contains("on purpose"),
        "{text}"
    );
    assert!(operator.get("/api/log?plugin=nobody").await["lines"] == json!([]));
    // So many are kept of a plugin.
    for _ in 0..6 {
        let hundred = vec![json!({ "do": "log", "level": "info", "text": "again" }); 100];
        client.ask(json!(hundred)).await;
    }
    assert_eq!(lines(0).await.len(), 500);
}

#[tokio::test]
async fn a_plugin_is_disabled_and_enabled() {
    let (server, operator) = server();
    let (mut client, _) = client(&server).await;
    let order = async |plugin: &str, action: &str| {
        let order = json!({ "plugin": plugin, "action": action });
        operator.order("/api/plugins", order).await
    };
    order("commander", "disable").await.expect("it obeys");
    assert_eq!(client.expect_close().await.0, 1001);
    expect_not_served(&server, "/commander").await;
    order("commander", "enable").await.expect("it obeys");
    tulpar_tests::become_served(&server, "/commander").await;
    let (status, why) = order("nobody", "enable").await.expect_err("there is none");
    assert!(status == 409 && why.contains("no plugin"), "{status} {why}");
    assert_eq!(
        order("commander", "explode").await.expect_err("what?").0,
        400
    );
}

#[tokio::test]
async fn files_are_taken_only_when_they_may_be() {
    let (server, operator) = server();
    let bytes = Mould::namespace("/new").bytes();
    let (status, why) = operator
        .upload("new", &bytes)
        .await
        .expect_err("they may not");
    assert!(
        status == 403 && why.contains("admin.uploads"),
        "{status} {why}"
    );
    assert!(!server.plugins_folder().join("new.wasm").exists());
}

#[tokio::test]
async fn an_uploaded_plugin_is_served_and_replaces_what_was_there() {
    let server = Server::with(&[]).config(UPLOADS).start();
    let operator = Operator::of(&server);
    assert_eq!(
        operator.get("/api/overview").await["server"]["uploads"],
        true
    );
    operator
        .upload("acme/new", &Mould::namespace("/new").bytes())
        .await
        .expect("it is taken");
    tulpar_tests::become_served(&server, "/acme/new").await;
    let mut client = connect(server.url("/acme/new")).await;
    echoes(&mut client, "hello").await;
    // In the middle of nothing, with its sockets open.
    let next = Mould::namespace("/new").set("name", json!("Next")).bytes();
    operator
        .upload("acme/new", &next)
        .await
        .expect("it is taken");
    server.log_line(&["replaced acme/new.wasm: generation 2"]);
    echoes(&mut client, "still here").await;
    let folder = std::fs::read_dir(server.plugins_folder().join("acme")).expect("it is there");
    assert_eq!(folder.count(), 1, "something was left behind");
}

#[tokio::test]
async fn what_cannot_be_a_plugin_is_not_taken() {
    let limit = 2 << 20;
    let config = format!("{UPLOADS}\n[limits]\nmax-plugin-bytes = {limit}");
    let server = Server::with(&["echo"]).config(&config).start();
    let operator = Operator::of(&server);
    let good = Mould::namespace("/new").bytes();
    for name in [
        "",
        ".a",
        "a/../b",
        "../a",
        "%2e%2e%2fa",
        "/etc/a",
        "a/b/c",
        "a.wasm",
        "a%00b",
        "a%0Ab",
    ] {
        let (status, why) = operator
            .upload(name, &good)
            .await
            .expect_err("it is no name");
        assert_eq!(status, 400, "{name}: {why}");
    }
    for (bytes, status, why) in [
        (&b"nonsense"[..], 422, "is not WebAssembly"),
        (b"", 422, "is empty"),
        (b"\0asm\x01\0\0\0", 422, "is a core module"),
        (&vec![0; limit + 1], 413, "longer than 2097152 bytes"),
    ] {
        let (said, text) = operator
            .upload("echo", bytes)
            .await
            .expect_err("it is none");
        assert!(said == status && text.contains(why), "{said} {text}");
        // Nor is a tenant made for it.
        operator
            .upload("acme/echo", bytes)
            .await
            .expect_err("it is none");
    }
    let mut client = Connect::to(server.url("/echo")).open().await;
    echoes(&mut client, "still here").await;
    let folder = std::fs::read_dir(server.plugins_folder()).expect("it is there");
    assert_eq!(folder.count(), 1, "something was left behind");
}
