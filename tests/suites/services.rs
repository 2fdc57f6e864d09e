//! Services: rule S2, and what V1 says of their end.

use tulpar_tests::{
    Client, Mould, PATIENCE, Raw, Request, Server, Signal, Value, call, connect, json, observer,
};

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
    // It runs when the second begins, as far as the machine lets it: not always, but now and then.
    let mut begun_at: Vec<u32> = Vec::new();
    while !begun_at.iter().any(|millis| *millis < 200) {
        assert!(begun_at.len() < 5, "{begun_at:?} ms behind the second");
        let second = next(&mut observer, "second").await;
        let at = second["at"].as_str().expect("a time");
        begun_at.push(at[20..23].parse().expect("three digits"));
    }
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
    // The client does not answer the close frame, as its thread waits for the end of the server.
    let mut server = Server::with(&["worker", "commander"])
        .env("TULPAR_STORE", folder)
        .env("TULPAR_TIMEOUTS_CLOSE_MS", "500")
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
    server.log_line(&["starts beside", "worker.wasm"]);
    server.signal(Signal::TERM);
    assert!(server.wait_exit(PATIENCE).success());
    server.log_line(&["stops", "worker.wasm"]);
}

#[tokio::test]
async fn s2_v1_a_client_that_does_not_leave_keeps_no_service_from_stopping() {
    // A quarter of the time is for on-stop, which has to begin in it also on a machine that is held up.
    let mut server = Server::with(&["worker", "unruly"])
        .config("[limits]\nrequest-deadline-ms = 60000\n[timeouts]\ngrace-ms = 8000")
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
async fn s2_a_run_that_takes_too_long_is_cut_off_and_the_next_one_comes() {
    // The same deadline is on-start's, which waits for the disk.
    let server = worker(
        "[limits]\ndeadline-ms = 2000\njob-deadline-ms = 4000\ncompute-ms = 60000\n\
         [plugin.worker]\nconfig = { tick = 'slow 60000' }",
    );
    let mut observer = observer(&server, "/commander").await;
    let mut number = 0;
    while number < 2 {
        let tick = next(&mut observer, "tick").await;
        assert_eq!(tick["runs"], 1);
        number = tick["number"].as_u64().expect("a number");
    }
    server.log_line(&[
        "service Worker: tick: ",
        "longer than 4000 ms (limits.job-deadline-ms)",
    ]);
}
