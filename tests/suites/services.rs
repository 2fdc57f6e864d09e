//! Services: rule S2, and what they and controllers can reach: configuration, the key-value store, other hosts.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tulpar_tests::{
    Client, Mould, PATIENCE, Raw, Request, Server, Signal, Value, connect, eventually, json,
    observer,
};

async fn call(server: &Server, desk: &str, call: Value) -> Value {
    let response = Request::post(&format!("{desk}/obey"), call.to_string())
        .send(server.address())
        .await;
    assert_eq!(response.status, 200, "{call}: {response:?}");
    serde_json::from_slice(&response.body).expect("it is JSON")
}

async fn kept(server: &Server, key: &str) -> Value {
    call(server, "/desk", json!({ "kv-get": ["worker", key] })).await
}

/// The next event of that kind, whatever else comes.
async fn next(observer: &mut Client, kind: &str) -> Value {
    loop {
        let event = observer.recv_json().await;
        if event["event"] == kind {
            return event;
        }
    }
}

fn worker(config: &str) -> Server {
    Server::with(&["worker", "commander", "desk", "attach"])
        .config(config)
        .start()
}

#[tokio::test]
async fn s2_on_start_runs_before_the_server_accepts_and_knows_all_namespaces() {
    let server = worker("");
    server.log_line(&["starts beside /commander", "worker.wasm"]);
    assert_eq!(kept(&server, "starts").await, "1");
    server
        .stdout
        .wait_for(&["Worker", "tick, each_second"], PATIENCE)
        .expect("it is in the table");
}

#[tokio::test]
async fn s2_schedules_run_again_and_again_in_one_instance() {
    let server = worker("");
    let mut observer = observer(&server, "/commander").await;
    let first = next(&mut observer, "tick").await;
    assert_eq!(first["started"], true);
    for more in 1..10 {
        let tick = next(&mut observer, "tick").await;
        let grown = |key: &str| tick[key].as_u64().unwrap() - first[key].as_u64().unwrap();
        assert_eq!((grown("number"), grown("runs")), (more, more));
    }
    let second = next(&mut observer, "second").await;
    let at = second["at"].as_str().expect("a time");
    // It runs when the second begins, as far as the machine lets it.
    let millis: u32 = at[20..23].parse().expect("three digits");
    assert!(millis < 900, "{at}");
}

#[tokio::test]
async fn s2_a_schedule_never_runs_twice_at_once_and_what_was_missed_is_left_out() {
    // A run takes 90 ms, and one is due each 20.
    let server = worker("[plugin.worker]\nconfig = { tick = 'slow 90' }");
    let mut observer = observer(&server, "/commander").await;
    let mut event = next(&mut observer, "tick").await;
    for _ in 0..5 {
        let number = event["number"].clone();
        let ended = loop {
            let event = observer.recv_json().await;
            assert_ne!(
                event["event"], "tick",
                "a second run has begun before the first has ended"
            );
            if event["event"] == "tock" {
                break event;
            }
        };
        assert_eq!(ended["number"], number);
        event = next(&mut observer, "tick").await;
    }
}

#[tokio::test]
async fn s2_a_run_that_fails_is_reported_and_the_next_one_comes() {
    let server = worker("[plugin.worker]\nconfig = { tick = 'fail' }");
    let mut observer = observer(&server, "/commander").await;
    // Nor does its text pass for another line of the log.
    let failed = [
        "service Worker: tick: ",
        "told to fail\u{fffd}INFO a line",
        "worker.wasm",
    ];
    server.log_line(&failed);
    let first = next(&mut observer, "tick").await;
    let second = next(&mut observer, "tick").await;
    // An error leaves the instance alive.
    assert_eq!(
        second["runs"].as_u64(),
        first["runs"].as_u64().map(|runs| runs + 1)
    );
}

#[tokio::test]
async fn s2_after_a_trap_a_new_instance_starts_first() {
    let server = worker("[plugin.worker]\nconfig = { tick = 'panic' }");
    let mut observer = observer(&server, "/commander").await;
    server.log_line(&["service Worker: tick: the guest trapped", "worker.wasm"]);
    for _ in 0..3 {
        let tick = next(&mut observer, "tick").await;
        assert_eq!((&tick["runs"], &tick["started"]), (&json!(1), &json!(true)));
    }
}

#[tokio::test]
async fn s2_a_run_that_computes_without_end_is_stopped_and_holds_up_nobody() {
    let server = worker("[limits]\ncompute-ms = 100\n[plugin.worker]\nconfig = { tick = 'loop' }");
    let mut client = connect(server.url("/commander")).await;
    server.log_line(&[
        "service Worker: tick: ",
        "longer than 100 ms (limits.compute-ms)",
    ]);
    assert_eq!(client.ask(json!({ "do": "nothing" })).await, Value::Null);
}

#[tokio::test]
async fn s2_a_service_that_does_not_start_has_no_schedules_and_all_else_is_served() {
    let server = worker("[plugin.worker]\nconfig = { start = 'fail' }");
    server.log_line(&["service Worker: on-start: ", "told not to start"]);
    server.log_line(&["service Worker: its schedules do not run"]);
    let mut observer = observer(&server, "/commander").await;
    assert_eq!(observer.ask(json!({ "do": "nothing" })).await, Value::Null);
    assert_eq!(kept(&server, "ticks").await, Value::Null);
    assert_eq!(kept(&server, "starts").await, "1");
}

#[tokio::test]
async fn s2_v1_on_stop_runs_when_the_server_stops_and_the_process_ends_well() {
    let store = tempfile::tempdir().expect("a temporary folder");
    let folder = store.path().to_str().expect("it is UTF-8");
    let mut server = Server::with(&["worker", "commander"])
        .env("TULPAR_STORE", folder)
        .start();
    let client = observer(&server, "/commander").await;
    server.signal(Signal::TERM);
    assert!(server.wait_exit(PATIENCE).success());
    server.log_line(&["stops", "worker.wasm"]);
    drop(client);
    // What it wrote last is there.
    let server = Server::with(&["desk", "attach"])
        .env("TULPAR_STORE", folder)
        .start();
    assert_eq!(kept(&server, "stops").await, "1");
}

#[tokio::test]
async fn s2_v1_a_stop_while_services_start_stops_them_in_order() {
    let mut server = Server::with(&["worker"])
        .config("[plugin.worker]\nconfig = { start = 'slow' }")
        .start();
    server.signal(Signal::TERM);
    assert!(server.wait_exit(PATIENCE).success());
    server.log_line(&["stops", "worker.wasm"]);
}

#[tokio::test]
async fn s2_v1_a_client_that_does_not_leave_keeps_no_service_from_stopping() {
    let mut server = Server::with(&["worker", "unruly"])
        .config("[timeouts]\ngrace-ms = 2000")
        .start();
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Request::get("/unruly/sleep").bytes()).await;
    server.log_line(&["asked for /sleep"]);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(1));
    server.log_line(&["stops", "worker.wasm"]);
}

#[tokio::test]
async fn s2_a_service_that_is_dropped_in_starts() {
    let server = Server::with(&["commander", "desk", "attach"]).start();
    let mut observer = observer(&server, "/commander").await;
    server.drop_in("worker.wasm", &tulpar_tests::guest("worker"));
    assert_eq!(next(&mut observer, "tick").await["started"], true);
}

#[tokio::test]
async fn s2_schedules_that_cannot_be_are_refused() {
    let long = "x".repeat(129);
    let many: Vec<_> = (0..33).map(|n| (format!("s{n}"), "1000")).collect();
    let many: Vec<_> = many
        .iter()
        .map(|(name, timing)| (name.as_str(), *timing))
        .collect();
    for (name, schedules, reason) in [
        (
            "zero",
            &[("a", "0")][..],
            "every 0 ms; it must be every 10 to 31622400000 ms",
        ),
        ("nine", &[("a", "9")], "every 9 ms"),
        ("years", &[("a", "31622400001")], "every 31622400001 ms"),
        ("soon", &[("a", "soon")], "the cron expression \"soon\""),
        ("never", &[("a", "0 0 30 2 *")], "a time that never comes"),
        (
            "twice",
            &[("a", "10"), ("a", "20")],
            "two schedules are called \"a\"",
        ),
        (
            "nameless",
            &[("", "10")],
            "the name of a schedule is 1 to 128 bytes",
        ),
        (
            "long",
            &[(&long, "10")],
            "the name of a schedule is 1 to 128 bytes",
        ),
        ("many", &many, "it lists 33 schedules, more than 32"),
    ] {
        let file = format!("{name}.wasm");
        let server = Server::with(&[])
            .file(&file, &Mould::service(schedules).bytes())
            .start();
        let line = server.refusal(&file);
        assert!(line.contains(reason), "{name}: {line}");
    }
    let good = [
        ("a", "10"),
        ("b", "31622400000"),
        ("c", "*/5 * * * *"),
        ("d", "0 0 9 * * 1-5"),
    ];
    let server = Server::with(&[])
        .file("good.wasm", &Mould::service(&good).bytes())
        .start();
    server
        .stdout
        .wait_for(&["Moulded", "a, b, c, d"], PATIENCE)
        .expect("it is served");
}

#[tokio::test]
async fn p4_two_services_of_one_name_are_one_too_many() {
    let service = Mould::service(&[]).bytes();
    let server = Server::with(&[])
        .file("a.wasm", &service)
        .file("b.wasm", &service)
        .file("acme/c.wasm", &service)
        .start();
    let line = server.refusal("b.wasm");
    assert!(
        line.contains("the service name Moulded is a.wasm's already"),
        "{line}"
    );
    server
        .stdout
        .wait_for(&["Moulded (of acme)"], PATIENCE)
        .expect("another tenant's is its own");
}

#[tokio::test]
async fn configuration_reaches_its_plugin_alone_and_no_log() {
    let secrets = tempfile::tempdir().expect("a temporary folder");
    let file = secrets.path().join("token");
    std::fs::write(&file, "s3cret-of-a-file\n").expect("it can be written");
    let config = format!(
        "[plugin.desk]\nconfig = {{ plain = 'as it is', variable = {{ env = 'A_SECRET' }}, file = {{ file = '{}' }} }}\n\
         [plugin.'acme/desk'.config]\nplain = 'of acme'",
        file.display()
    );
    let server = Server::with(&["desk", "attach", "commander"])
        .tenant("acme", &["desk", "attach"])
        .tenant("other", &["desk", "attach"])
        .config(&config)
        .env("A_SECRET", "s3cret-of-the-environment")
        .start();
    for (desk, key, value) in [
        ("/desk", "plain", json!("as it is")),
        ("/desk", "variable", json!("s3cret-of-the-environment")),
        ("/desk", "file", json!("s3cret-of-a-file")),
        ("/desk", "nothing", Value::Null),
        ("/acme/desk", "plain", json!("of acme")),
        ("/acme/desk", "file", Value::Null),
        ("/other/desk", "plain", Value::Null),
    ] {
        assert_eq!(
            call(&server, desk, json!({ "config": key })).await,
            value,
            "{desk} {key}"
        );
    }
    assert_eq!(
        call(&server, "/acme/desk", json!({ "config-all": [] })).await,
        json!([["plain", "of acme"]])
    );
    assert!(!server.stderr.text().contains("s3cret") && !server.stdout.text().contains("s3cret"));
}

#[tokio::test]
async fn a_grant_or_a_value_that_cannot_be_stops_the_server_and_says_why() {
    for (config, reason) in [
        ("hosts = ['']", "names no host"),
        ("hosts = ['*']", "names no host"),
        (
            "hosts = ['https://example.com']",
            "is more than a host and a port",
        ),
        (
            "hosts = ['example.com:0']",
            "has a port that is not 1 to 65535",
        ),
        (
            "host = ['example.com']",
            "there is no setting `plugin.desk.host`; did you mean `plugin.desk.hosts`?",
        ),
        (
            "config = { a = { env = 'NOT_THERE' } }",
            "the environment has no variable NOT_THERE",
        ),
        (
            "config = { a = { file = '/not/there' } }",
            "cannot read /not/there",
        ),
        ("config = 's3cret'", "`plugin.desk` is a table with"),
        ("hosts = 's3cret'", "`plugin.desk` is a table with"),
        ("hosts = ['u:s3cret@host']", "is more than a host"),
        ("config = { a = 's3cret }", "is not valid TOML in line 2"),
        ("config = { a = 3 }", "is a text, { env ="),
    ] {
        let (status, server) = Server::with(&[])
            .config(&format!("[plugin.desk]\n{config}"))
            .start_in_vain();
        assert_eq!(status.code(), Some(2), "{config}");
        assert!(!server.stderr.text().contains("s3cret"), "{config}");
        assert!(
            server.stderr.text().contains(reason),
            "{config}: {}",
            server.stderr.text()
        );
    }
}

#[tokio::test]
async fn keys_and_values_are_kept_by_tenant_and_outlive_the_server() {
    let store = tempfile::tempdir().expect("a temporary folder");
    let folder = store.path().to_str().expect("it is UTF-8");
    let start = || {
        Server::with(&["desk", "attach", "commander"])
            .tenant("acme", &["desk", "attach", "commander"])
            .env("TULPAR_STORE", folder)
            .start()
    };
    let mut server = start();
    for (told, answer) in [
        (json!({ "kv-get": ["b", "k"] }), Value::Null),
        (json!({ "kv-set": ["b", "k", "v"] }), Value::Null),
        (json!({ "kv-get": ["b", "k"] }), json!("v")),
        (json!({ "kv-exists": ["b", "k"] }), json!(true)),
        (json!({ "kv-exists": ["c", "k"] }), json!(false)),
        (json!({ "kv-increment": ["b", "n", 2] }), json!(2)),
        (json!({ "kv-increment": ["b", "n", 3] }), json!(5)),
        (
            json!({ "kv-set-many": ["b", [["x", "1"], ["y", "2"]]] }),
            Value::Null,
        ),
        (
            json!({ "kv-get-many": ["b", ["x", "nothing", "y"]] }),
            json!(["1", null, "2"]),
        ),
        (json!({ "kv-keys": "b" }), json!(["k", "n", "x", "y"])),
        (
            json!({ "kv-delete-many": ["b", ["x", "y", "nothing"]] }),
            Value::Null,
        ),
        (json!({ "kv-delete": ["b", "nothing"] }), Value::Null),
        (json!({ "kv-keys": "b" }), json!(["k", "n"])),
    ] {
        assert_eq!(call(&server, "/desk", told.clone()).await, answer, "{told}");
    }
    // Another tenant has other keys; another plugin of the same tenant has the same.
    assert_eq!(
        call(&server, "/acme/desk", json!({ "kv-keys": "b" })).await,
        json!([])
    );
    let mut client = observer(&server, "/commander").await;
    let told = json!({ "do": "call", "call": { "kv-get": ["b", "k"] } });
    assert_eq!(client.ask(told).await, "v");

    server.signal(Signal::KILL);
    server.wait_exit(PATIENCE);
    let server = start();
    assert_eq!(
        call(&server, "/desk", json!({ "kv-get": ["b", "k"] })).await,
        "v"
    );
    assert_eq!(
        call(&server, "/desk", json!({ "kv-get": ["b", "n"] })).await,
        "5"
    );
}

#[tokio::test]
async fn what_a_tenant_keeps_is_bounded_at_each_limit_and_one_past() {
    let server = Server::with(&["desk", "attach"])
        .tenant("acme", &["desk", "attach"])
        .config("[limits]\nstore-bytes = 10000\nstore-value-bytes = 4000")
        .start();
    let fails = async |told: Value, part: &str| {
        let answer = call(&server, "/desk", told.clone()).await;
        let text = answer["error"].as_str().unwrap_or_default();
        assert!(text.contains(part), "{told}: {answer}");
    };
    let done = async |told: Value| {
        assert_eq!(
            call(&server, "/desk", told.clone()).await,
            Value::Null,
            "{told}"
        );
    };
    fails(
        json!({ "kv-set-of": ["b", "k", 4001] }),
        "limits.store-value-bytes",
    )
    .await;
    done(json!({ "kv-set-of": ["b", "k1", 4000] })).await;
    done(json!({ "kv-set-of": ["b", "k2", 4000] })).await;
    fails(
        json!({ "kv-set-of": ["b", "k3", 4000] }),
        "limits.store-bytes",
    )
    .await;
    // What is replaced counts no more, and what is deleted makes room.
    done(json!({ "kv-set-of": ["b", "k2", 4000] })).await;
    done(json!({ "kv-delete": ["b", "k1"] })).await;
    done(json!({ "kv-set-of": ["b", "k3", 4000] })).await;
    for bad in ["", &"k".repeat(257)] {
        fails(json!({ "kv-set": ["b", bad, "v"] }), "key").await;
    }
    done(json!({ "kv-set": ["b", "k".repeat(256), "v"] })).await;
    for bad in ["", "a\nb", &"b".repeat(129)] {
        fails(json!({ "kv-set": [bad, "k", "v"] }), "").await;
    }
    fails(json!({ "kv-increment": ["b", "k2", 1] }), "number").await;
    // A full tenant leaves the others their room.
    let told = json!({ "kv-set-of": ["b", "k", 4000] });
    assert_eq!(call(&server, "/acme/desk", told).await, Value::Null);
}

/// A host that answers each request with its path. Returns its port.
async fn other_host() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read_exact(&mut byte).await.is_err() {
                        return;
                    }
                    head.extend(byte);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                if path == "/never" {
                    std::future::pending::<()>().await;
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                    path.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn requests_go_to_granted_hosts_and_nowhere_else() {
    let port = other_host().await;
    let server = Server::with(&["desk", "attach"])
        .tenant("acme", &["desk", "attach"])
        .config(&format!("[plugin.desk]\nhosts = ['127.0.0.1:{port}']"))
        .start();
    let url = format!("http://127.0.0.1:{port}/hello");
    let answer = call(&server, "/desk", json!({ "fetch": url })).await;
    assert_eq!(answer, json!({ "status": 200, "body": "/hello" }));

    for other in [
        format!("http://localhost:{port}/"),
        "http://127.0.0.1/".to_owned(),
        format!("http://127.0.0.1:{port}@example.com/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let answer = call(&server, "/desk", json!({ "fetch": other })).await;
        assert!(answer["error"].is_string(), "{other}: {answer}");
    }
    server.log_line(&[
        "a request to 169.254.169.254 was denied",
        "hosts",
        "desk.wasm",
    ]);
    // The grant is one plugin's.
    let answer = call(&server, "/acme/desk", json!({ "fetch": url })).await;
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|text| text.contains("granted")),
        "{answer}"
    );
}

#[tokio::test]
async fn a_host_that_never_answers_costs_the_request_its_time_and_nobody_else_anything() {
    let port = other_host().await;
    let server = Server::with(&["desk", "attach", "commander"])
        .config(&format!(
            "[limits]\nrequest-deadline-ms = 300\n[plugin.desk]\nhosts = ['127.0.0.1:{port}']"
        ))
        .start();
    let told = json!({ "fetch": format!("http://127.0.0.1:{port}/never") }).to_string();
    let response = Request::post("/desk/obey", told)
        .send(server.address())
        .await;
    assert_eq!(
        (response.status, response.text()),
        (504, r#"{"error":"Gateway Timeout"}"#)
    );
    server.log_line(&[
        "longer than 300 ms (limits.request-deadline-ms)",
        "desk.wasm",
    ]);
    assert_eq!(
        call(&server, "/desk", json!({ "say": "still here" })).await,
        Value::Null
    );
}

#[tokio::test]
async fn s1_m1_middlewares_stand_before_a_controller_and_what_they_attach_reaches_it() {
    let server = Server::with(&["desk"])
        .file("attach.wasm", &Mould::middleware("attach").bytes())
        .start();
    let ask = async |steps: Value| {
        let request = Request::get("/desk/values").header("tulpar-values", "\"a lie\"");
        let request = request.header("x-attach", &steps.to_string());
        request.send(server.address()).await
    };
    assert_eq!(ask(json!([])).await.text(), "null");
    let steps = json!([
        { "do": "value", "json": "{\"a\": 1}" },
        { "do": "header", "name": "x-added", "value": "yes" },
    ]);
    let answered = ask(steps).await;
    assert_eq!(answered.text(), r#"{"a":1}"#);
    assert_eq!(answered.header("x-added"), Some("yes"));
    let steps = json!([{ "do": "respond", "status": 401, "headers": [], "body": "no" }]);
    let refused = ask(steps).await;
    assert_eq!((refused.status, refused.text()), (401, "no"));
    let refused = ask(json!([{ "do": "panic" }])).await;
    let internal = r#"{"error":"Internal Server Error"}"#;
    assert_eq!((refused.status, refused.text()), (500, internal));

    let server = Server::with(&["desk", "attach"]).start();
    for values in [json!({ "a": [1.50, "ö\u{7f}\n"] }), json!("x"), json!(null)] {
        let request = Request::get("/desk/values")
            // A client cannot send DEL as it is.
            .header("x-values", &values.to_string().replace('\u{7f}', "\\u007f"));
        let response = request.send(server.address()).await;
        let seen: Value = serde_json::from_slice(&response.body).expect("it is JSON");
        assert_eq!(seen, values);
    }
}

#[tokio::test]
async fn s1_p4_a_controller_whose_middleware_is_missing_is_not_served() {
    let server = Server::with(&["desk"]).start();
    server
        .stdout
        .wait_for(
            &["not served /desk/ (desk.wasm): missing middleware `attach`"],
            PATIENCE,
        )
        .expect("it is said");
    let answered = Request::get("/desk/answered").send(server.address()).await;
    assert_eq!(answered.status, 404);
    server.drop_in("attach.wasm", &tulpar_tests::guest("attach"));
    eventually("/desk to be served", async || {
        let answered = Request::get("/desk/answered").send(server.address()).await;
        (answered.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn p3_a_tenant_takes_nothing_out_of_what_a_controller_of_the_root_serves() {
    let server = Server::with(&["desk", "attach"])
        .tenant("desk", &["commander", "worker"])
        .tenant("desks", &["commander"])
        .start();
    let line = server.refusal("desk/commander.wasm");
    assert!(
        line.contains("what is below /desk is desk.wasm's already"),
        "{line}"
    );
    for served in [&["/desks/commander"][..], &["Worker (of desk)"]] {
        server
            .stdout
            .wait_for(served, PATIENCE)
            .expect("it is served");
    }
}

#[tokio::test]
async fn s1_routes_parameters_bodies_and_errors_of_an_sdk_controller() {
    let server = Server::with(&["desk", "attach"])
        .tenant("acme", &["desk"])
        .start();
    let ask = async |method: &str, path: &str, body: &str| {
        let request = Request::new(method, path).body(body);
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&request.bytes()).await;
        let response = raw.outcome(method).await.expect("it is whole");
        (response.status, response.text().to_owned())
    };
    for (method, path, body, status, text) in [
        ("GET", "/desk/items/first", "", 200, "the literal one"),
        (
            "GET",
            "/desk/items/a%20b%2Fc?q=x+y",
            "",
            200,
            r#"{"id":"a b/c","q":"x y","path":"/items/a%20b%2Fc","prefix":"/desk"}"#,
        ),
        (
            "GET",
            "/acme/desk/items/7",
            "",
            200,
            r#"{"id":"7","q":null,"path":"/items/7","prefix":"/acme/desk"}"#,
        ),
        ("PUT", "/desk/items/7", "", 204, ""),
        ("POST", "/desk/items", r#"{"a":1}"#, 201, r#"{"a":1}"#),
        (
            "GET",
            "/desk/missing",
            "",
            404,
            r#"{"error":"no such thing"}"#,
        ),
        (
            "GET",
            "/desk/fails",
            "",
            500,
            r#"{"error":"Internal Server Error"}"#,
        ),
        (
            "GET",
            "/desk/panics",
            "",
            500,
            r#"{"error":"Internal Server Error"}"#,
        ),
        ("GET", "/desk", "", 404, r#"{"error":"Not Found"}"#),
        (
            "GET",
            "/desk/items/7/more",
            "",
            404,
            r#"{"error":"Not Found"}"#,
        ),
        (
            "DELETE",
            "/desk/items/7",
            "",
            405,
            r#"{"error":"Method Not Allowed"}"#,
        ),
        ("HEAD", "/desk/items/7", "", 200, ""),
        ("GET", "/deskitems", "", 404, r#"{"error":"Not Found"}"#),
    ] {
        assert_eq!(
            ask(method, path, body).await,
            (status, text.to_owned()),
            "{method} {path}"
        );
    }
    let (status, text) = ask("POST", "/desk/items", "{not json").await;
    assert!(
        status == 400 && text.starts_with(r#"{"error":"invalid JSON in the body"#),
        "{status} {text}"
    );
    server.log_line(&["a secret reason", "desk.wasm"]);
    for _ in 0..2 {
        // Each request has an instance of its own.
        assert_eq!(ask("GET", "/desk/answered", "").await.1, "1");
    }
}

#[tokio::test]
async fn s2_a_run_that_takes_too_long_is_cut_off_and_the_next_one_comes() {
    let server =
        worker("[limits]\njob-deadline-ms = 500\n[plugin.worker]\nconfig = { tick = 'slow 700' }");
    server.log_line(&[
        "service Worker: tick: ",
        "longer than 500 ms (limits.job-deadline-ms)",
    ]);
    let mut observer = observer(&server, "/commander").await;
    for _ in 0..2 {
        assert_eq!(next(&mut observer, "tick").await["runs"], 1);
    }
}
