//! Files in the plugins folder: rules P1 to P4, and the adding of P6.

use std::fs;
use std::time::{Duration, Instant};

use tulpar_tests::{
    Mould, PATIENCE, Server, Value, become_served, connect, eventually, expect_echo,
    expect_not_served, get, guest, json, workspace,
};

#[tokio::test]
async fn p1_a_file_is_a_plugin_and_a_folder_a_tenant() {
    let server = Server::with(&["commander"])
        .tenant("acme", &["commander"])
        .file("notes/readme.txt", b"no plugin")
        .start();
    expect_echo(&server, "/commander").await;
    expect_echo(&server, "/acme/commander").await;
    assert!(
        !server.stdout.text().contains("notes"),
        "a folder without plugins is no tenant"
    );
    assert_eq!(server.stdout.with("refused"), [""; 0]);
}

#[tokio::test]
async fn p1_the_table_names_what_is_served() {
    let server = Server::with(&["chat", "private", "ws-auth"])
        .tenant("acme", &["commander"])
        .start();
    for cells in [
        ["/chat", "ChatSocket", "-", "chat.wasm"],
        ["/private", "PrivateSocket", "ws-auth", "private.wasm"],
        ["/acme/commander", "Commander", "-", "acme/commander.wasm"],
    ] {
        let cells = cells.into_iter().filter(|cell| *cell != "-");
        let cells: Vec<_> = cells.collect();
        assert!(
            server.stdout.wait_for(&cells, Duration::ZERO).is_some(),
            "no line has {cells:?}"
        );
    }
    assert!(
        server
            .stdout
            .wait_for(&["ws-auth", "ws-auth.wasm"], Duration::ZERO)
            .is_some()
    );
}

#[tokio::test]
async fn p1_names_that_begin_with_an_underscore_or_a_dot_are_ignored() {
    let bytes = guest("commander");
    let server = Server::with(&["chat"])
        .file("_commander.wasm", &bytes)
        .file(".commander.wasm", &bytes)
        .file("_acme/commander.wasm", &bytes)
        .file(".acme/commander.wasm", &bytes)
        .file("commander.wasm.bak", &bytes)
        .file("commander", &bytes)
        .start();
    for path in [
        "/commander",
        "/_acme/commander",
        "/.acme/commander",
        "/acme/commander",
    ] {
        expect_not_served(&server, path).await;
    }
    assert!(
        !server.stdout.text().contains("commander"),
        "what is ignored is not mentioned"
    );
    assert_eq!(
        connect(server.url("/chat")).await.recv_text().await,
        "Welcome to chat!"
    );
}

#[test]
fn p2_the_descriptor_can_be_read_at_rest() {
    let admin = json!({
        "kind": "namespace",
        "path": "/admin",
        "name": "AdminSocket",
        "middlewares": ["ws-logging", "ws-auth", "ws-rate-limit"],
        "protocols": [],
    });
    assert_eq!(descriptors(&guest("admin")), [admin]);
    assert_eq!(
        descriptors(&guest("ws-auth")),
        [json!({ "kind": "middleware", "name": "ws-auth" })]
    );
    let controller = json!({
        "kind": "controller",
        "path": "/notify",
        "name": "NotificationController",
        "middlewares": [],
    });
    let schedules = json!([{ "name": "full_hour", "cron": "0 * * * *" }]);
    let service =
        json!({ "kind": "service", "name": "NotificationService", "schedules": schedules });
    let found = descriptors(&guest("notification-service"));
    assert!(
        found.len() == 2 && found.contains(&controller) && found.contains(&service),
        "{found:?}"
    );
    let all = fs::read_dir(workspace().join("plugins"))
        .expect("the folder of the examples")
        .flatten();
    for plugin in all.filter(|entry| entry.path().join("Cargo.toml").is_file()) {
        let name = plugin.file_name().into_string().expect("UTF-8");
        assert!(!descriptors(&guest(&name)).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn p2_describe_is_the_authority() {
    let mut bytes = Mould::namespace("/truth").bytes();
    append_descriptor(
        &mut bytes,
        &json!({ "kind": "namespace", "path": "/lie", "name": "Lie" }),
    );
    let server = Server::with(&[]).file("torn.wasm", &bytes).start();
    expect_echo(&server, "/truth").await;
    expect_not_served(&server, "/lie").await;
}

#[tokio::test]
async fn p2_one_component_may_be_a_namespace_and_a_middleware() {
    let server = Server::with(&["both"]).start();
    let client = connect(server.url("/both")).await;
    assert_eq!(client.response.header("x-passed"), Some("both"));
    expect_echo(&server, "/both").await;
}

#[tokio::test]
async fn p3_a_tenants_own_middleware_comes_before_the_roots() {
    let gate = |of: &str| {
        Mould::middleware("gate")
            .set("header", json!(["x-gate-of", of]))
            .bytes()
    };
    let gated = || {
        Mould::namespace("/gated")
            .set("middlewares", json!(["gate"]))
            .bytes()
    };
    let server = Server::with(&[])
        .file("gate.wasm", &gate("root"))
        .file("gated.wasm", &gated())
        .file("acme/gate.wasm", &gate("acme"))
        .file("acme/gated.wasm", &gated())
        .file("zeta/gated.wasm", &gated())
        .start();
    for (path, gate) in [
        ("/gated", "root"),
        ("/acme/gated", "acme"),
        ("/zeta/gated", "root"),
    ] {
        let client = connect(server.url(path)).await;
        assert_eq!(client.response.header("x-gate-of"), Some(gate), "{path}");
    }
}

#[tokio::test]
async fn p3_a_tenants_middleware_is_nobody_elses() {
    let gated = || {
        Mould::namespace("/gated")
            .set("middlewares", json!(["gate"]))
            .bytes()
    };
    let server = Server::with(&[])
        .file("acme/gate.wasm", &Mould::middleware("gate").bytes())
        .file("acme/gated.wasm", &gated())
        .file("gated.wasm", &gated())
        .file("zeta/gated.wasm", &gated())
        .start();
    expect_echo(&server, "/acme/gated").await;
    expect_not_served(&server, "/gated").await;
    expect_not_served(&server, "/zeta/gated").await;
}

#[tokio::test]
async fn p3_the_roots_plugins_and_a_tenants_cannot_take_each_others_paths() {
    let squatter = Mould::namespace("/acme/commander").set("name", json!("Squatter"));
    let server = Server::with(&["commander"])
        .file("squatter.wasm", &squatter.bytes())
        .tenant("acme", &["commander"])
        .start();
    let refused = server.stdout.with("refused ");
    assert_eq!(refused.len(), 1, "{refused:?}");
    for part in ["squatter.wasm", "acme/commander.wasm", "/acme/commander"] {
        assert!(
            refused[0].contains(part),
            "`{part}` is not in `{}`",
            refused[0]
        );
    }
    expect_echo(&server, "/acme/commander").await;
}

#[tokio::test]
async fn p4_of_two_plugins_with_one_path_the_first_is_served() {
    let twin = |name: &str| Mould::namespace("/twin").set("name", json!(name)).bytes();
    let server = Server::with(&[])
        .file("a.wasm", &twin("FirstTwin"))
        .file("b.wasm", &twin("SecondTwin"))
        .start();
    let refusal = server.refusal("b.wasm");
    for part in ["/twin", "a.wasm"] {
        assert!(refusal.contains(part), "`{part}` is not in `{refusal}`");
    }
    assert_eq!(server.stdout.with("refused").len(), 1);
    assert_eq!(server.stdout.with("FirstTwin").len(), 1);
    assert_eq!(server.stdout.with("SecondTwin").len(), 0);
    expect_echo(&server, "/twin").await;
}

#[tokio::test]
async fn p4_of_two_plugins_with_one_middleware_name_the_first_is_used() {
    let twin = |value: &str| {
        Mould::middleware("gate")
            .set("header", json!(["x-twin", value]))
            .bytes()
    };
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&[])
        .file("a.wasm", &twin("first"))
        .file("b.wasm", &twin("second"))
        .file("gated.wasm", &gated.bytes())
        .start();
    let refusal = server.refusal("b.wasm");
    for part in ["gate", "a.wasm"] {
        assert!(refusal.contains(part), "`{part}` is not in `{refusal}`");
    }
    assert_eq!(
        connect(server.url("/gated"))
            .await
            .response
            .header("x-twin"),
        Some("first")
    );
}

#[tokio::test]
async fn p4_a_namespace_without_its_middleware_is_served_as_soon_as_that_appears() {
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate", "other"]));
    let server = Server::with(&["commander"])
        .file("gated.wasm", &gated.bytes())
        .file("other.wasm", &Mould::middleware("other").bytes())
        .start();
    expect_not_served(&server, "/gated").await;
    assert_eq!(get(server.address(), "/gated").await.status, 404);
    let said = ["not served", "/gated", "gated.wasm", "`gate`"];
    assert!(
        server.stdout.wait_for(&said, PATIENCE).is_some(),
        "nobody says that `gate` is missing"
    );

    server.drop_in("gate.wasm", &Mould::middleware("gate").bytes());
    become_served(&server, "/gated").await;
    expect_echo(&server, "/gated").await;
    let serving = "tulpar_plugin_serving{tenant=\"@root\",plugin=\"gated\"}";
    eventually("it to count as served", async || {
        (server.metric(serving) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn p4_a_namespace_whose_middleware_goes_is_served_no_more_and_that_is_said() {
    let gated = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&["commander"])
        .file("gated.wasm", &gated.bytes())
        .file("gate.wasm", &Mould::middleware("gate").bytes())
        .start();
    expect_echo(&server, "/gated").await;
    server.take_out("gate.wasm");
    server.log_line(&[
        "WARN",
        "not served /gated (gated.wasm): missing middleware `gate`",
    ]);
    expect_not_served(&server, "/gated").await;
    let serving = "tulpar_plugin_serving{tenant=\"@root\",plugin=\"gated\"}";
    eventually("it to count as not served", async || {
        (server.metric(serving) == 0).then_some(())
    })
    .await;
    let list = server.tulpar(&["plugins"]).expect("it lists");
    assert!(
        list.contains("blocked")
            && list.contains("not served /gated (gated): missing middleware `gate`"),
        "{list}"
    );

    // Nor when another version of it names one that there is not.
    server.drop_in("gate.wasm", &Mould::middleware("gate").bytes());
    become_served(&server, "/gated").await;
    let other = Mould::namespace("/gated").set("middlewares", json!(["gate", "absent"]));
    server.drop_in("gated.wasm", &other.bytes());
    server.log_line(&["not served /gated (gated.wasm): missing middleware `absent`"]);
    expect_not_served(&server, "/gated").await;
}

#[tokio::test]
async fn p6_a_file_that_is_dropped_in_is_served_soon() {
    // It is compiled already: what is measured is how soon a file is found.
    let server = Server::with(&["commander"])
        .tenant("before", &["chat"])
        .start();
    let mut open = connect(server.url("/commander")).await;
    let mut soonest = Duration::MAX;
    for tenant in ["", "acme/", "other/"] {
        let path = format!("/{tenant}chat");
        expect_not_served(&server, &path).await;
        let begun = Instant::now();
        server.drop_in(&format!("{tenant}chat.wasm"), &guest("chat"));
        become_served(&server, &path).await;
        soonest = soonest.min(begun.elapsed());
    }
    // The machine may hold up one or another. Without news of the folder each would take two seconds.
    assert!(soonest < Duration::from_secs(1), "{soonest:?}");
    // What was served before goes on as it was, in the same instance: on-open was its first call.
    assert_eq!(open.ask(json!({ "do": "seen" })).await, 2);
    let mut late = connect(server.url("/commander")).await;
    assert_eq!(late.ask(json!({ "do": "seen" })).await, 4);
    assert_eq!(late.ask(json!({ "do": "sockets" })).await, 2);
}

#[tokio::test]
async fn p6_a_dropped_in_file_that_is_refused_is_logged_and_harms_nobody() {
    let server = Server::with(&["commander"]).start();
    server.drop_in("greedy.wasm", &guest("greedy"));
    server.log_line(&["greedy.wasm", "tulpar:test-guests/disk"]);
    server.drop_in("twin.wasm", &Mould::namespace("/commander").bytes());
    server.log_line(&["twin.wasm", "/commander"]);
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn p6_a_half_written_file_is_served_when_it_is_whole() {
    let server = Server::with(&["commander"]).start();
    let bytes = Mould::namespace("/slow").bytes();
    let file = server.plugins_folder().join("slow.wasm");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("the half can be written");
    // Whoever found this one has passed by the half.
    server.drop_in("zz-marker.wasm", &Mould::namespace("/marker").bytes());
    become_served(&server, "/marker").await;
    expect_not_served(&server, "/slow").await;
    fs::write(&file, &bytes).expect("the whole can be written");
    become_served(&server, "/slow").await;
}

/// What stands in the custom sections `tulpar:plugin` of a component and of what is nested in it.
fn descriptors(binary: &[u8]) -> Vec<Value> {
    const CUSTOM: u8 = 0;
    const MODULE: u8 = 1;
    const COMPONENT: u8 = 4;
    let is_component = binary[4..8] != [1, 0, 0, 0];
    let mut found = Vec::new();
    let mut rest = &binary[8..];
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = leb128(after);
        let (section, after) = after.split_at(length);
        if *id == CUSTOM {
            let (length, named) = leb128(section);
            let (name, content) = named.split_at(length);
            if name == b"tulpar:plugin" {
                let lines = content
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                found.extend(
                    lines.map(|line| {
                        serde_json::from_slice::<Value>(line).expect("each line is JSON")
                    }),
                );
            }
        } else if is_component && [MODULE, COMPONENT].contains(id) {
            found.extend(descriptors(section));
        }
        rest = after;
    }
    found
}

/// Adds a custom section `tulpar:plugin` to a component.
fn append_descriptor(component: &mut Vec<u8>, descriptor: &Value) {
    const NAME: &[u8] = b"tulpar:plugin";
    let content = [
        &[NAME.len() as u8][..],
        NAME,
        descriptor.to_string().as_bytes(),
        b"\n",
    ]
    .concat();
    assert!(content.len() < 128, "the length is one byte");
    component.extend([0, content.len() as u8]);
    component.extend(content);
}

fn leb128(bytes: &[u8]) -> (usize, &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .expect("a number ends")
        + 1;
    let value = bytes[..end]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, &bytes[end..])
}
