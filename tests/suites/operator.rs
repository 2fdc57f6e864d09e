//! `tulpar plugins`: what the operator sees and does.

use tulpar_tests::{Connect, Mould, Server, Signal, Value, connect, eventually, expect_not_served};

fn generation(number: u32) -> Vec<u8> {
    Mould::reloaded("/swap", &number.to_string()).bytes()
}

fn server() -> Server {
    Server::with(&["echo"])
        .file("acme/swap.wasm", &generation(1))
        .start()
}

/// What the list has of a plugin; none when that is not in it.
fn listed(server: &Server, name: &str) -> Option<Value> {
    let listed = server
        .tulpar(&["plugins", "list", "--json"])
        .expect("it lists");
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("it is a list in JSON");
    listed.into_iter().find(|plugin| plugin["name"] == name)
}

fn plugin(server: &Server, name: &str) -> Value {
    listed(server, name).unwrap_or_else(|| panic!("{name} is not in the list"))
}

/// Waits until the list says that of a plugin: the log and its clients hear of a change a moment before.
async fn become_status(server: &Server, name: &str, status: &str) {
    eventually(&format!("{name} to be {status}"), async || {
        let plugin = listed(server, name)?;
        (plugin["status"] == status).then_some(())
    })
    .await;
}

async fn be_of(server: &Server, number: u32) {
    let what = format!("generation {number}");
    eventually(&what, async || {
        let client = Connect::to(server.url("/acme/swap")).attempt().await;
        let mut client = client.ok()?;
        client.send("which?").await;
        let answer = client.recv_json().await;
        (answer["generation"].as_str() == Some(&number.to_string())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_list_tells_what_each_plugin_is_and_does() {
    let server = server();
    let mut client = connect(server.url("/echo")).await;
    client.send("a").await;
    client.recv().await;
    server.drop_in("broken.wasm", b"nonsense");
    server.log_line(&["refused", "broken.wasm"]);
    become_status(&server, "broken", "refused").await;
    let list = server.tulpar(&["plugins"]).expect("it lists");
    let row = |name: &str| {
        let found = list.lines().find(|line| line.starts_with(name));
        let cells = found.unwrap_or_else(|| panic!("{name} is not in {list}"));
        cells
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row("acme/swap"),
        ["acme/swap", "serving", "1", "0", "0", "/acme/swap"]
    );
    assert_eq!(row("echo"), ["echo", "serving", "1", "1", "0", "/echo"]);
    assert_eq!(row("broken"), ["broken", "refused", "-", "0", "0", "-"]);
    assert!(
        list.contains("refused broken: is not WebAssembly"),
        "{list}"
    );
}

#[tokio::test]
async fn a_file_that_is_deleted_is_in_the_list_no_more() {
    let server = server();
    server.drop_in("broken.wasm", b"nonsense");
    become_status(&server, "broken", "refused").await;
    become_status(&server, "echo", "serving").await;
    for name in ["broken", "echo"] {
        server.take_out(&format!("{name}.wasm"));
        eventually("it to be gone", async || {
            listed(&server, name).is_none().then_some(())
        })
        .await;
    }
    assert_eq!(plugin(&server, "acme/swap")["status"], "serving");
}

#[tokio::test]
async fn p6_a_disabled_plugin_goes_and_an_enabled_one_comes_back() {
    let server = server();
    let mut client = connect(server.url("/acme/swap")).await;
    client.send("a").await;
    client.recv().await;
    server
        .tulpar(&["plugins", "disable", "acme/swap"])
        .expect("it obeys");
    assert_eq!(client.expect_close().await.0, 1001);
    expect_not_served(&server, "/acme/swap").await;
    assert_eq!(plugin(&server, "acme/swap")["status"], "disabled");
    // A new file changes nothing about that.
    server.drop_in("acme/swap.wasm", &generation(2));
    server.drop_in("later.wasm", &Mould::namespace("/later").bytes());
    server.log_line(&["loaded later.wasm"]);
    expect_not_served(&server, "/acme/swap").await;
    server
        .tulpar(&["plugins", "enable", "acme/swap"])
        .expect("it obeys");
    be_of(&server, 2).await;
    become_status(&server, "acme/swap", "serving").await;
}

#[tokio::test]
async fn p6_a_plugin_is_rolled_back_with_its_sockets_open() {
    let server = server();
    let mut client = connect(server.url("/acme/swap")).await;
    let nothing = server.tulpar(&["plugins", "rollback", "acme/swap"]);
    let nothing = nothing.expect_err("there is nothing before");
    assert!(
        nothing.contains("has not been anything else before"),
        "{nothing}"
    );
    server.drop_in("acme/swap.wasm", &generation(2));
    be_of(&server, 2).await;
    server
        .tulpar(&["plugins", "rollback", "acme/swap"])
        .expect("it obeys");
    assert_eq!(plugin(&server, "acme/swap")["status"], "rolled-back");
    let answer = loop {
        client.send("which?").await;
        let answer = client.recv_json().await;
        if answer["reloaded"].is_null() {
            break answer;
        }
    };
    assert!(answer["generation"] == "1" || answer["generation"] == "2");
    be_of(&server, 1).await;
    // Said twice it leads back.
    server
        .tulpar(&["plugins", "rollback", "acme/swap"])
        .expect("it obeys");
    be_of(&server, 2).await;
    assert_eq!(plugin(&server, "acme/swap")["status"], "serving");
    // And a new file counts again.
    server
        .tulpar(&["plugins", "rollback", "acme/swap"])
        .expect("it obeys");
    server.drop_in("acme/swap.wasm", &generation(3));
    be_of(&server, 3).await;
    become_status(&server, "acme/swap", "serving").await;
}

#[tokio::test]
async fn p6_a_rollback_that_fails_leaves_all_as_it_was() {
    let first = Mould::reloaded("/swap", "1").set("reload", "error".into());
    let server = Server::with(&[])
        .file("acme/swap.wasm", &first.bytes())
        .start();
    server.drop_in("acme/swap.wasm", &generation(2));
    be_of(&server, 2).await;
    let failed = server.tulpar(&["plugins", "rollback", "acme/swap"]);
    let failed = failed.expect_err("it does not take over");
    assert!(failed.contains("could not take over"), "{failed}");
    server.log_line(&[
        "WARN",
        "acme/swap.wasm stays as it is",
        "could not take over",
    ]);
    let plugin = plugin(&server, "acme/swap");
    assert_eq!(plugin["status"], "serving");
    assert_eq!(plugin["refusal"], Value::Null);
    be_of(&server, 2).await;
}

#[tokio::test]
async fn p6_what_the_operator_decided_holds_over_a_restart() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let plugins = |number: u32| {
        Server::with(&[])
            .file("acme/swap.wasm", &generation(number))
            .file("off.wasm", &Mould::namespace("/off").bytes())
            .env("TULPAR_STATE", &state.path().display().to_string())
    };
    let mut server = plugins(1).start();
    server.drop_in("acme/swap.wasm", &generation(2));
    be_of(&server, 2).await;
    server
        .tulpar(&["plugins", "rollback", "acme/swap"])
        .expect("it obeys");
    server
        .tulpar(&["plugins", "disable", "off"])
        .expect("it obeys");
    be_of(&server, 1).await;
    server.signal(Signal::TERM);
    server.wait_exit(tulpar_tests::PATIENCE);

    let server = plugins(2).start();
    be_of(&server, 1).await;
    expect_not_served(&server, "/off").await;
    server
        .tulpar(&["plugins", "rollback", "acme/swap"])
        .expect("it obeys");
    be_of(&server, 2).await;
}

#[tokio::test]
async fn what_only_the_server_has_is_not_asked_of_the_operator() {
    let server = Server::with(&["echo"])
        .config(
            "[plugin.echo.config]\nsecret = { env = \"ECHO_SECRET\" }\n\
             [admin]\nsocket = \"elsewhere.sock\"\n",
        )
        .env("ECHO_SECRET", "of the server alone")
        .start();
    let list = server.tulpar(&["plugins", "list", "--json"]);
    let list = list.expect("it lists");
    let list: Vec<Value> = serde_json::from_str(&list).expect("it is a list in JSON");
    assert_eq!(list[0]["name"], "echo");
    assert_eq!(list[0]["status"], "serving");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = server();
    for action in ["disable", "enable", "rollback", "release"] {
        let said = server.tulpar(&["plugins", action, "nobody"]);
        let said = said.expect_err("there is none");
        assert!(said.contains("there is no plugin \"nobody\""), "{said}");
    }
    let elsewhere = server.tulpar(&["plugins", "--admin", "nowhere.sock"]);
    let elsewhere = elsewhere.expect_err("nobody listens");
    assert!(
        elsewhere.contains("no server listens on nowhere.sock"),
        "{elsewhere}"
    );
}
