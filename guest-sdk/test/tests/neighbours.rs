//! Plugins beside others: middlewares, the broker, tenants, the store, other hosts, and servers beside servers.

mod common;

use std::time::Duration;

use common::{GUESTS, commander, told};
use tulpar_test::{Request, Response, Server, Value, json};

/// What a call of the host comes to when the controller `desk` makes it.
fn call(server: &Server, call: Value) -> Value {
    server
        .request(Request::post("/desk/obey").with_json(call))
        .json()
}

fn desk() -> tulpar_test::Builder {
    commander()
        .example_in(GUESTS, "attach")
        .example_in(GUESTS, "desk")
}

#[test]
fn one_plugin_reaches_the_sockets_of_another() {
    let server = desk().start();
    let ada = server.open("/commander");
    assert_eq!(
        call(&server, json!({ "broadcast": ["/commander", "hi"] })),
        1
    );
    assert_eq!(ada.received(), ["hi"]);
    let missing = call(&server, json!({ "broadcast": ["/nowhere", "hi"] }));
    assert_eq!(missing["error"], "NamespaceNotFound");
}

#[test]
fn a_middleware_attaches_and_a_controller_is_behind_it_too() {
    let server = desk().example_in(GUESTS, "scripted").start();
    let values = json!({ "open": [{ "do": "subscribe", "room": "a" }] });
    let ada = server.open(Request::get("/scripted").with_header("x-values", &values.to_string()));
    assert_eq!(ada.values(), values);
    assert_eq!(ada.rooms(), ["a"]);
    let request = Request::get("/desk/values").with_header("x-values", "[1]");
    assert_eq!(server.request(request).json::<Value>(), json!([1]));
    assert_eq!(server.request("/desk/missing").status(), 404);
    assert_eq!(server.request("/desk/panics").status(), 500);
    assert_eq!(server.request("/desk/answered").text(), "1");
}

#[test]
fn a_socket_that_is_terminated_in_on_open_was_there_all_the_same() {
    let server = Server::builder()
        .example_in(GUESTS, "scripted")
        .example_in(GUESTS, "attach")
        .start();
    for (last, code) in [
        (json!({ "do": "terminate" }), 1006),
        (json!({ "do": "close", "code": 4002, "reason": "" }), 4002),
    ] {
        let values = json!({ "open": [last] }).to_string();
        let ada = server.open(Request::get("/scripted").with_header("x-values", &values));
        assert_eq!(ada.closed().map(|(code, _)| code), Some(code));
        assert!(server.sockets("/scripted").is_empty());
    }
}

#[test]
fn a_tenant_has_paths_and_a_store_of_its_own() {
    let server = desk()
        .config("whose", "ours")
        .tenant("acme")
        .example_in(GUESTS, "commander")
        .config("whose", "theirs")
        .start();
    let (ours, theirs) = (server.open("/commander"), server.open("/acme/commander"));
    let ask = |client, what: Value| told(client, json!({ "do": "call", "call": what }));
    assert_eq!(ask(&theirs, json!({ "config": "whose" })), "theirs");
    assert_eq!(call(&server, json!({ "config": "whose" })), "ours");
    assert_eq!(
        ask(&theirs, json!({ "kv-set": ["b", "key", "value"] })),
        json!(null)
    );
    assert_eq!(ask(&theirs, json!({ "kv-get": ["b", "key"] })), "value");
    assert_eq!(ask(&ours, json!({ "kv-get": ["b", "key"] })), json!(null));
    assert_eq!(
        call(&server, json!({ "broadcast": ["/commander", "hi"] })),
        1
    );
    assert_eq!((ours.received().len(), theirs.received().len()), (1, 0));
}

#[test]
fn other_hosts_are_what_the_test_makes_of_them() {
    let server = desk()
        .host("api.example.com", |request| {
            assert_eq!((request.method(), request.path()), ("GET", "/users/7"));
            assert_eq!(request.target(), "/users/7?full");
            Response::new(203).with_body("Ada")
        })
        .host("slow.example.com:8080", |_| Response::new(503))
        .start();
    let fetch = |url: &str| call(&server, json!({ "fetch": url }));
    assert_eq!(
        fetch("https://api.example.com/users/7?full"),
        json!({ "status": 203, "body": "Ada" })
    );
    assert_eq!(fetch("http://slow.example.com:8080/")["status"], 503);
    let denied = fetch("https://other.example.com/");
    assert!(
        denied["error"]
            .as_str()
            .is_some_and(|it| it.contains("is not granted")),
        "{denied}"
    );
}

#[test]
fn a_host_answers_to_whatever_its_grant_allows() {
    let server = desk()
        .host("*.example.com", |_| Response::new(201))
        .host("API.example.org:443", |_| Response::new(202))
        .start();
    let status = |url: &str| call(&server, json!({ "fetch": url }))["status"].clone();
    assert_eq!(status("https://a.b.example.com/"), 201);
    assert_eq!(status("https://A.Example.com:443/"), 201);
    assert_eq!(status("https://api.example.org/"), 202);
    assert_eq!(status("https://example.com/"), Value::Null);
}

#[test]
fn an_answer_that_panics_fails_the_test_whoever_has_asked() {
    let refuse = |request: &Request| -> Response { panic!("not {}", request.path()) };
    let worker = |setting: &str| {
        commander()
            .example_in(GUESTS, "worker")
            .config(setting, "https://api.example.com/users")
            .host("api.example.com", refuse)
    };
    let panics = |act: &dyn Fn()| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).err();
        let said = panicked.and_then(|it| it.downcast::<String>().ok());
        assert_eq!(said.as_deref().map(String::as_str), Some("not /users"));
    };

    // In on-start.
    panics(&|| drop(worker("start").start()));
    // In a schedule that is due, and in one that is run by hand.
    let server = worker("tick").start();
    panics(&|| server.advance(Duration::from_millis(20)));
    panics(&|| _ = server.run("Worker", "tick"));
    // In a request. Its plugin gets a broken connection, and whoever asks next is served.
    let server = desk().host("api.example.com", refuse).start();
    panics(&|| _ = call(&server, json!({ "fetch": "https://api.example.com/users" })));
    assert_eq!(call(&server, json!({ "config": "none" })), json!(null));
}

#[test]
fn a_new_version_takes_over_the_sockets_and_not_the_memory() {
    let server = commander().start();
    let ada = server.open("/commander");
    told(&ada, json!({ "do": "set-data", "value": 7 }));
    told(&ada, json!({ "do": "subscribe", "room": "a" }));
    assert_eq!(told(&ada, json!({ "do": "seen" })), 4);
    for _ in 0..2 {
        server.reload("commander").unwrap();
        assert_eq!(told(&ada, json!({ "do": "seen" })), 1);
    }
    assert_eq!(ada.values(), 7);
    assert_eq!(ada.rooms(), ["a"]);
    assert_eq!(server.members("/commander", "a"), [ada.id()]);
}

#[test]
fn a_plugin_that_comes_to_serve_another_path_closes_its_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let echo = Server::builder().crate_in("../../plugins/echo");
    drop(echo.start());
    let server = commander().start();
    let ada = server.open("/commander");
    let built = tulpar_test_folder().join("wasm32-wasip2/release/echo.wasm");
    let copy = folder.path().join("copy.wasm");
    std::fs::copy(built, &copy).unwrap();
    server.replace("commander", &copy).unwrap();
    assert_eq!(ada.closed(), Some((1001, "The plugin was replaced".into())));
    let ada = server.open("/echo");
    ada.send("hi");
    assert_eq!(ada.received(), ["hi"]);
}

#[test]
fn what_comes_of_a_file_is_not_what_came_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let no_plugin = folder.path().join("none.wasm");
    std::fs::write(&no_plugin, "no WebAssembly").unwrap();
    let built = tulpar_test_folder().join("wasm32-wasip2/release/examples/commander.wasm");
    let server = commander().start();
    let ada = server.open("/commander");
    assert_eq!(told(&ada, json!({ "do": "seen" })), 2);
    let refused = || {
        let refused = server.replace("commander", &no_plugin);
        assert_eq!(refused, Err("is not WebAssembly".into()));
    };

    // The same bytes once more, and those that serve all the while.
    refused();
    refused();
    server.replace("commander", &built).unwrap();
    assert_eq!(told(&ada, json!({ "do": "seen" })), 3);

    // It is replaced by itself, not by what was refused, and has been when `reload` returns.
    refused();
    server.reload("commander").unwrap();
    assert_eq!(told(&ada, json!({ "do": "seen" })), 1);
    assert_eq!(told(&ada, json!({ "do": "seen" })), 2);
}

/// Where plugins are built in this workspace.
fn tulpar_test_folder() -> std::path::PathBuf {
    std::env::var_os("TULPAR_TEST_TARGET_DIR")
        .expect(".cargo/config.toml sets it")
        .into()
}

#[test]
fn servers_run_side_by_side_and_know_nothing_of_each_other() {
    let test = |name: String| {
        move || {
            let server = commander().start();
            let ada = server.open("/commander");
            for round in 0..10 {
                told(&ada, json!({ "do": "log", "level": "info", "text": name }));
                told(
                    &ada,
                    json!({ "do": "subscribe", "room": format!("{name}{round}") }),
                );
            }
            assert_eq!(server.rooms("/commander").len(), 10);
            assert_eq!(server.logs(), vec![name; 10]);
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|number| std::thread::spawn(test(format!("server {number}"))))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
