//! What comes of plugins that fail, and of those that are none.

mod common;

use std::fs;
use std::time::Duration;

use common::{GUESTS, commander, panic, told};
use tulpar_test::{Request, Response, Server, json};

/// Why it does not start.
fn refusal(builder: tulpar_test::Builder) -> String {
    builder
        .try_start()
        .err()
        .expect("it does not start")
        .to_string()
}

#[test]
fn a_trap_closes_its_client_and_the_next_event_is_served() {
    let server = commander().start();
    let (ada, bob) = (server.open("/commander"), server.open("/commander"));
    assert_eq!(told(&bob, json!({ "do": "seen" })), 3);
    ada.send(panic());
    assert_eq!(ada.closed(), Some((1011, "Handler error".into())));
    assert!(!ada.is_open());
    let error = ada.next().json::<tulpar_test::Value>();
    assert_eq!(error["message"], "Server error occurred");
    // A new instance, which has seen on-close and this.
    assert_eq!(told(&bob, json!({ "do": "seen" })), 2);
    let said: Vec<_> = server.server_logs();
    assert!(
        said.iter()
            .any(|line| line.text.contains("on-message: the guest trapped")),
        "{said:?}"
    );
    assert!(
        server
            .logs()
            .iter()
            .any(|line| line.text.contains("told to"))
    );
}

#[test]
fn an_error_and_an_overrun_close_their_clients_too() {
    let server = commander().setting("limits.deadline-ms", 20).start();
    for (command, why) in [
        (
            json!({ "do": "fail", "text": "as told" }),
            "the handler returned an error: as told",
        ),
        (
            json!({ "do": "loop" }),
            "the call took longer than 20 ms (limits.deadline-ms)",
        ),
    ] {
        let ada = server.open("/commander");
        ada.send(command);
        assert_eq!(ada.closed(), Some((1011, "Handler error".into())));
        let said = server.server_logs();
        assert!(said.iter().any(|line| line.text.ends_with(why)), "{said:?}");
    }
    assert_eq!(
        told(&server.open("/commander"), json!({ "do": "nothing" })),
        json!(null)
    );
}

#[test]
fn a_quarantine_ends_when_its_time_has_passed() {
    let server = commander().setting("limits.quarantine-failures", 2).start();
    let patient = server.open("/commander");
    for _ in 0..2 {
        server.open("/commander").send(panic());
    }
    let refused = server
        .connect("/commander")
        .err()
        .expect("it is in quarantine");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    // What open sockets send waits.
    patient.send(json!({ "do": "nothing" }));
    assert_eq!(patient.received(), [""; 0]);

    server.advance(Duration::from_millis(1000));
    assert_eq!(
        server.connect("/commander").err().map(|it| it.status()),
        Some(503)
    );
    server.advance(Duration::from_millis(1));
    assert_eq!(patient.received(), [json!({ "answer": null })]);
    assert!(server.connect("/commander").is_ok());
}

#[test]
fn a_file_that_is_no_plugin_is_refused_with_its_name_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.wasm");
    fs::write(&file, "no WebAssembly").unwrap();
    let builder = || Server::builder().plugin(&file);
    assert_eq!(
        refusal(builder()),
        "chat.wasm is refused: is not WebAssembly"
    );
    let of_a_tenant = Server::builder().tenant("acme").plugin(&file);
    assert_eq!(
        refusal(of_a_tenant),
        "acme/chat.wasm is refused: is not WebAssembly"
    );
    let panicked = std::panic::catch_unwind(|| builder().start());
    let said = panicked.err().and_then(|it| it.downcast::<String>().ok());
    assert_eq!(*said.unwrap(), "chat.wasm is refused: is not WebAssembly");

    fs::remove_file(&file).unwrap();
    let why = refusal(builder());
    assert!(why.contains("chat.wasm cannot be read"), "{why}");
    let why = refusal(Server::builder().crate_in("nowhere"));
    assert!(why.contains("nowhere/Cargo.toml"), "{why}");
    let why = refusal(Server::builder().example_in(GUESTS, "none"));
    assert!(
        why.contains("does not build") && why.contains("none"),
        "{why}"
    );
}

#[test]
fn two_plugins_with_one_path_are_one_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let echo = Server::builder().crate_in("../../plugins/echo");
    let server = echo.start();
    let again = folder.path().join("other.wasm");
    fs::write(&again, "").unwrap();
    assert_eq!(server.replace("echo", &again), Err("is empty".into()));
    let ada = server.open("/echo");
    ada.send("what was there serves on");
    assert_eq!(ada.received(), ["what was there serves on"]);
}

#[test]
fn two_plugins_with_one_name_are_one_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let file = folder.join("chat.wasm");
        fs::write(&file, "no WebAssembly").unwrap();
        file
    };
    let (first, second) = (version("v1"), version("v2"));
    let why = refusal(Server::builder().plugin(&first).plugin(&second));
    for file in [&first, &second] {
        assert!(why.contains(&*file.to_string_lossy()), "{why}");
    }
    assert!(why.contains("are both called \"chat\""), "{why}");
    let of_acme = || Server::builder().tenant("acme").plugin(&first);
    let why = refusal(of_acme().plugin(&second));
    assert!(why.contains("are both called \"acme/chat\""), "{why}");
    // One that is another tenant's is another one.
    let why = refusal(of_acme().tenant("zeta").plugin(&second));
    for said in ["acme/chat.wasm is refused", "zeta/chat.wasm is refused"] {
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn two_crates_that_are_built_as_one_file_are_one_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let krate = |name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = "[package]\nname = \"tulpar-test-twin\"\nedition = \"2024\"\n\
                        [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        let exported = "#[unsafe(no_mangle)] pub extern \"C\" fn twin() {}";
        fs::write(folder.join("src/lib.rs"), exported).unwrap();
        folder
    };
    let (first, second) = (krate("first"), krate("second"));
    let of_two_tenants = Server::builder().crate_in(&first).tenant("acme");
    let why = refusal(of_two_tenants.crate_in(&second));
    for said in ["first/Cargo.toml", "second/Cargo.toml", "are both built as"] {
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn names_that_no_plugin_can_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let file = folder.path().join(name);
        fs::write(&file, "no WebAssembly").unwrap();
        file
    };
    let chat = file("chat.wasm");
    for (tenant, file, why) in [
        ("../x", &chat, "\"../x/chat\" names no plugin"),
        ("_acme", &chat, "\"_acme/chat\" names no plugin"),
        ("a/b", &chat, "the name \"b/chat\""),
        ("a b", &chat, "the tenant's folder \"a b\""),
        ("", &file("_chat.wasm"), "\"_chat\" names no plugin"),
        ("", &file(".chat.wasm"), "\".chat\" names no plugin"),
    ] {
        let said = refusal(Server::builder().tenant(tenant).plugin(file));
        assert!(said.starts_with(why), "{said}");
    }
    let of_nobody = Server::builder().tenant("acme").tenant("").plugin(&chat);
    assert_eq!(
        refusal(of_nobody),
        "chat.wasm is refused: is not WebAssembly"
    );
}

#[test]
fn settings_are_checked() {
    for (builder, why) in [
        (
            commander().setting("limits.room-per-socket", 1),
            "the settings: there is no setting `limits.room-per-socket`; did you mean `limits.rooms-per-socket`?",
        ),
        (
            commander().setting("limits.deadline-ms", 0),
            "the settings: `limits.deadline-ms` is 0; it must be 1 to 60000",
        ),
        (
            commander().setting("dev", true).setting("dev.more", 1),
            "the setting \"dev.more\" lies in one that is no table",
        ),
        (
            Server::builder().config("greeting", "hello"),
            "what is said of a plugin comes behind the plugin",
        ),
    ] {
        assert_eq!(refusal(builder), why);
    }
    for key in [
        "listen",
        "plugins",
        "store",
        "state",
        "cache",
        "admin.listen",
        "proxy.trusted",
    ] {
        let why = refusal(Server::builder().setting(key, "nowhere"));
        let own = key.split('.').next().unwrap();
        let said = format!("the setting `{own}` is the test's own");
        assert!(why.starts_with(&said), "{key}: {why}");
    }
    let why = refusal(commander().host("https://api.example.com", |_| Response::new(200)));
    assert!(why.contains("is more than a host and a port"), "{why}");
}

#[test]
fn a_path_that_waits_for_its_middleware_says_so() {
    let server = Server::builder().crate_in("../../plugins/private").start();
    let said = |path: &str| {
        let open = std::panic::AssertUnwindSafe(|| server.open(path));
        let panicked = std::panic::catch_unwind(open).err();
        *panicked
            .and_then(|it| it.downcast::<String>().ok())
            .unwrap()
    };
    assert_eq!(
        said("/private?token=x"),
        "/private answers 404: private.wasm wants the middleware ws-auth, which no plugin of this server is"
    );
    assert!(said("/nowhere").starts_with("/nowhere answers 404: "));
    assert_eq!(server.request(Request::get("/private")).status(), 404);
}
