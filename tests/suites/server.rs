//! The process: rule V1, the command line, the configuration, the cache, the log and the sandbox.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tulpar_tests::{
    Connect, Mould, Opcode, PATIENCE, Raw, Running, Server, Signal, become_served, connect,
    eventually, frame, get, json, tulpar,
};

/// Longer than a test waits: what ends before did not wait for that.
const FOREVER: &str = "[timeouts]\nclose-ms = 60000\ngrace-ms = 60000\n";

/// A server that cannot serve: how it ended and what it said.
fn ends(server: tulpar_tests::Builder) -> (Option<i32>, String) {
    let (status, server) = server.start_in_vain();
    (ExitStatus::code(&status), server.stderr.text())
}

#[tokio::test]
async fn v1_a_signal_closes_the_sockets_runs_on_close_and_ends_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::with(&["commander"]).start();
        let mut clients = [
            connect(server.url("/commander")).await,
            connect(server.url("/commander")).await,
        ];
        for (index, client) in clients.iter_mut().enumerate() {
            let farewell =
                json!({ "do": "log", "level": "info", "text": format!("farewell of {index}") });
            client
                .ask(json!({ "do": "set-data", "value": { "close": [farewell] } }))
                .await;
        }
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.expect_close().await.0, 1001, "{signal:?}");
        }
        let status = server.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(0), "{signal:?}");
        for index in 0..2 {
            assert_eq!(
                server.stderr.with(&format!("farewell of {index}")).len(),
                1,
                "{signal:?}"
            );
        }
    }
}

#[tokio::test]
async fn v2_a_log_that_nobody_reads_is_no_reason_to_fail() {
    let mut server = Server::with(&["commander"]).unheard().start();
    for _ in 0..5 {
        let mut client = connect(server.url("/commander")).await;
        let said = json!({ "do": "log", "level": "error", "text": "does anybody hear this?" });
        assert_eq!(client.ask(said).await, "done");
        // It breaks the protocol, which is said in the log too.
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.write(&[0xff, 0xff]).await;
        assert_eq!(raw.close_frame().await.0, 1002);
        client.close(1000, "").await;
        assert_eq!(client.expect_close().await.0, 1000);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_on_close_hears_1001() {
    let mut server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    server.signal(Signal::TERM);
    assert_eq!(client.expect_close().await.0, 1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(server.stderr.with("closed with 1001").len(), 1);
}

#[tokio::test]
async fn v1_messages_in_hand_finish() {
    let mut server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    let commands = json!([
        { "do": "log", "level": "info", "text": "the handler has begun" },
        { "do": "busy", "ms": 500 },
        { "do": "send", "message": "finished" },
    ]);
    client.send(commands.to_string()).await;
    server.log_line(&["the handler has begun"]);
    server.signal(Signal::TERM);
    assert_eq!(client.recv_text().await, "finished");
    assert_eq!(
        client.recv_json().await,
        json!({ "answer": ["done", "done", "done"] })
    );
    assert_eq!(client.expect_close().await.0, 1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_nobody_new_is_accepted_while_it_ends() {
    let mut server = Server::with(&["commander"]).config(FOREVER).start();
    // A peer that does not answer the close keeps the server from ending.
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    server.signal(Signal::TERM);
    assert_eq!(deaf.close_frame().await.0, 1001);
    // Accepting ends beside the closing of the sockets, so that who comes in between may still be let in.
    eventually("nobody to be let in any more", async || {
        let late = Connect::to(server.url("/commander")).if_it_listens().await;
        late.is_none().then_some(())
    })
    .await;
    deaf.send(frame(Opcode::Close, &1001_u16.to_be_bytes()))
        .await;
    drop(deaf);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_the_grace_time_ends_the_wait_for_a_peer() {
    let mut server = Server::with(&["commander"])
        .config("[timeouts]\nclose-ms = 60000\ngrace-ms = 700")
        .start();
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(deaf.close_frame().await.0, 1001);
    // Not all was done, which is no success.
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(1));
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(700), "{taken:?}");
}

#[tokio::test]
async fn v1_a_second_signal_ends_it_at_once() {
    let mut server = Server::with(&["commander"]).config(FOREVER).start();
    let mut deaf = Raw::upgraded(server.address(), "/commander").await;
    server.signal(Signal::TERM);
    assert_eq!(deaf.close_frame().await.0, 1001);
    server.signal(Signal::INT);
    server.wait_exit(PATIENCE);
}

#[tokio::test]
async fn v1_it_ends_with_nobody_connected() {
    let mut server = Server::with(&["commander"]).config(FOREVER).start();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[tokio::test]
async fn v1_a_connection_that_asks_for_nothing_does_not_hold_it() {
    let mut server = Server::with(&["commander"])
        .config(&format!("{FOREVER}handshake-ms = 60000"))
        .start();
    let silent = Raw::connect(server.address()).await;
    let mut asked = Raw::connect(server.address()).await;
    asked.write(&Raw::request("GET", "/nowhere", &[])).await;
    assert_eq!(asked.response().await.status, 404);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    drop(silent);
}

#[tokio::test]
async fn v1_a_handler_that_never_ends_does_not_hold_it() {
    let mut server = Server::with(&["commander"])
        .config("[limits]\ndeadline-ms = 400")
        .start();
    let mut client = connect(server.url("/commander")).await;
    let commands =
        json!([{ "do": "log", "level": "info", "text": "here it goes" }, { "do": "loop" }]);
    client.send(commands.to_string()).await;
    server.log_line(&["here it goes"]);
    server.signal(Signal::TERM);
    while client
        .recv()
        .await
        .is_some_and(|message| !message.is_close())
    {}
    drop(client);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_known_one() {
    for (toml, unknown, nearest) in [
        ("plugns = \"x\"", "plugns", "plugins"),
        ("[limits]\ndeadlin-ms = 5", "deadlin-ms", "deadline-ms"),
        (
            "[limits]\nmax-message-byte = 5",
            "max-message-byte",
            "max-message-bytes",
        ),
        ("[timeouts]\ngrace = 5", "grace", "grace-ms"),
        ("[limit]\ndeadline-ms = 5", "limit", "limits"),
    ] {
        let (code, said) = ends(Server::with(&[]).config(toml));
        assert_eq!(code, Some(2), "{toml}: {said}");
        assert!(
            said.contains(unknown) && said.contains(nearest),
            "{toml}: {said}"
        );
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    for (toml, part) in [
        ("this is no TOML", "tulpar.toml"),
        ("[limits]\ndeadline-ms = \"soon\"", "deadline-ms"),
        ("[limits]\ndeadline-ms = -1", "deadline-ms"),
        ("[limits]\nmax-message-bytes = 1.5", "max-message-bytes"),
        ("listen = \"nowhere\"", "listen"),
        ("dev = \"perhaps\"", "dev"),
        ("limits = 5", "limits"),
    ] {
        let (code, said) = ends(Server::with(&[]).config(toml));
        assert_eq!(code, Some(2), "{toml}: {said}");
        assert!(said.contains(part), "{toml}: {said}");
    }
    let (code, said) = ends(
        Server::with(&[])
            .arg("--config")
            .arg("/nowhere/tulpar.toml"),
    );
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/nowhere/tulpar.toml"), "{said}");
    let (code, said) = ends(Server::with(&[]).env("TULPAR_LIMITS_ROOMS_PER_SOCKET", "many"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("TULPAR_LIMITS_ROOMS_PER_SOCKET"), "{said}");
}

#[test]
fn a_plugins_folder_that_is_not_there_is_said() {
    let server = Server::with(&[]);
    let folder = server.plugins_folder().to_owned();
    fs::remove_dir(&folder).expect("the folder can be removed");
    let (code, said) = ends(server);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&folder.display().to_string()), "{said}");
}

#[test]
fn an_unknown_argument_is_refused() {
    let (code, said) = ends(Server::with(&[]).arg("--plugin-folder"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--plugin-folder"), "{said}");
}

#[test]
fn an_address_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound");
    let (code, said) = ends(Server::with(&[]).listen(address));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address.to_string()), "{said}");
}

#[tokio::test]
async fn the_environment_stands_over_the_file_and_a_flag_over_both() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let taken = taken.local_addr().expect("it is bound");
    let toml = format!("listen = \"{taken}\"\n[limits]\nmax-message-bytes = 10");
    let server = Server::with(&["echo"])
        .config(&toml)
        .env("TULPAR_LISTEN", &taken.to_string())
        .env("TULPAR_LIMITS_MAX_MESSAGE_BYTES", "20")
        .start();
    assert_ne!(server.address(), taken, "the flag says another address");
    let mut client = connect(server.url("/echo")).await;
    client.send("x".repeat(20)).await;
    assert_eq!(client.recv_text().await, "x".repeat(20));
    client.send("x".repeat(21)).await;
    assert_eq!(client.expect_close().await.0, 1009);
}

#[tokio::test]
async fn p6_what_is_not_compiled_in_time_is_served_when_it_is() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let server = Server::with(&["commander"])
        .cache(cache.path())
        .config("[timeouts]\nstart-ms = 0")
        .start();
    server.log_line(&["still to be compiled", "timeouts.start-ms"]);
    become_served(&server, "/commander").await;
}

#[tokio::test]
async fn v1_a_signal_ends_a_server_that_is_still_compiling() {
    // More than it compiles before the signal reaches it.
    const MANY: usize = 100;
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("plugins")).expect("it can be made");
    for number in 0..MANY {
        let plugin = Mould::namespace(&format!("/{number}")).bytes();
        let file = folder.path().join(format!("plugins/{number}.wasm"));
        fs::write(file, plugin).expect("it can be written");
    }
    let mut command = tulpar(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    command.env("TULPAR_LOG", "tulpar_runtime=debug");
    let mut server = Running::start(command);
    let begun = server.stderr.wait_for(&["plugin loaded"], PATIENCE);
    begun.expect("it compiles one after the other");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    let loaded = server.stderr.with("plugin loaded").len();
    assert!(loaded < MANY, "it has compiled all of them first");
    assert_eq!(server.stdout.text(), "");
}

#[tokio::test]
async fn a_restart_with_unchanged_plugins_compiles_nothing() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    for cached in ["false", "true"] {
        let server = Server::with(&["chat", "ws-auth"])
            .cache(cache.path())
            .start();
        for file in ["chat.wasm", "ws-auth.wasm"] {
            server.log_line(&["plugin loaded", file, &format!("cached={cached}")]);
        }
    }
    // Another plugin under the same name is compiled.
    let server = Server::with(&[])
        .file("chat.wasm", &Mould::namespace("/chat").bytes())
        .cache(cache.path())
        .start();
    server.log_line(&["plugin loaded", "chat.wasm", "cached=false"]);
}

#[tokio::test]
async fn v2_a_folder_that_is_no_cache_loses_nothing_when_it_is_named_as_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "mine").expect("the file can be written");
    let not_used = ["compiled code is not cached", "name another folder"];
    for (mode, entries, said) in [(0o775, 1, &not_used[..]), (0o700, 2, &["plugin loaded"])] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("it is mine");
        let server = Server::with(&["chat"])
            .cache(folder.path())
            .config("[limits]\ncache-bytes = 1")
            .start();
        server.log_line(said);
        assert_eq!(fs::read(&notes).expect("it is there"), b"mine");
        let metadata = fs::metadata(folder.path()).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, mode);
        let left = fs::read_dir(folder.path()).expect("it is there");
        assert_eq!(left.count(), entries);
    }
}

#[tokio::test]
async fn a_damaged_cache_is_not_trusted() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    drop(Server::with(&["chat"]).cache(cache.path()).start());
    let mut damaged = 0;
    let mut folders = vec![cache.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .expect("the cache can be read")
            .flatten()
        {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let whole = fs::read(entry.path()).expect("the file can be read");
                fs::write(entry.path(), &whole[..whole.len() / 2])
                    .expect("the file can be written");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0, "the cache is empty");
    let server = Server::with(&["chat"]).cache(cache.path()).start();
    server.log_line(&["plugin loaded", "chat.wasm", "cached=false"]);
    assert_eq!(
        connect(server.url("/chat")).await.recv_text().await,
        "Welcome to chat!"
    );
}

#[tokio::test]
async fn a_page_for_development_is_served_when_asked_for() {
    let server = Server::with(&["chat"]).arg("--dev").start();
    let page = get(server.address(), "/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html")),
        "{page:?}"
    );
    for part in ["WebSocket", "/chat", "ChatSocket"] {
        assert!(
            page.text().contains(part),
            "{part} is not in {}",
            page.text()
        );
    }
    let server = Server::with(&["chat"]).start();
    assert_eq!(get(server.address(), "/").await.status, 404);
}

#[tokio::test]
async fn a_plugins_lines_reach_the_log_with_its_name() {
    let server = Server::with(&["commander"]).start();
    let mut client = connect(server.url("/commander")).await;
    for (level, shown) in [("info", "INFO"), ("warn", "WARN"), ("error", "ERROR")] {
        let text = format!("a line of {level}");
        client
            .ask(json!({ "do": "log", "level": level, "text": text }))
            .await;
        server.log_line(&[shown, &text, "commander"]);
    }
    // What is printed goes there too; a line that pretends to be another is still one line.
    client
        .ask(json!({ "do": "print", "text": "printed" }))
        .await;
    server.log_line(&["printed", "commander"]);
    client
        .ask(json!({ "do": "log", "level": "info", "text": "one\nERROR two\u{1b}[2J" }))
        .await;
    let line = server.log_line(&["one", "two"]);
    assert!(
        !line.contains('\u{1b}'),
        "an escape sequence reaches the terminal: {line:?}"
    );
}

#[tokio::test]
async fn a_plugin_sees_clock_and_random_but_no_files_and_environment() {
    let server = Server::with(&["commander"])
        .tenant("acme", &["commander"])
        .env("SECRET", "hunter2")
        .start();
    let mut client = connect(server.url("/commander")).await;
    let clock = client.ask(json!({ "do": "clock" })).await;
    assert!(
        clock.as_str().is_some_and(tulpar_tests::is_timestamp),
        "{clock}"
    );
    assert_ne!(clock, "1970-01-01T00:00:00.000Z");
    // Two instances of the same code, asked for their first number.
    let random = client.ask(json!({ "do": "random" })).await;
    let mut twin = connect(server.url("/acme/commander")).await;
    twin.ask(json!({ "do": "clock" })).await;
    assert_ne!(twin.ask(json!({ "do": "random" })).await, random);
    assert_eq!(
        client.ask(json!({ "do": "environment" })).await[0],
        json!({})
    );
    let reach = client.ask(json!({ "do": "reach" })).await;
    for way in ["read", "write", "list"] {
        assert!(reach[way].is_string(), "{way} succeeds: {reach}");
    }
}
