//! Time, which passes when a test says so.

mod common;

use std::time::Duration;

use common::{GUESTS, commander, told};
use tulpar_test::{Client, Server, Value, json};

fn server() -> Server {
    commander().example_in(GUESTS, "worker").start()
}

/// A client that hears what the worker does.
fn observer(server: &Server) -> Client {
    let client = server.open("/commander");
    told(&client, json!({ "do": "subscribe", "room": "observers" }));
    client
}

/// How often each of these came.
fn counts<const N: usize>(client: &Client, events: [&str; N]) -> [usize; N] {
    let received: Vec<Value> = client.received().iter().map(|it| it.json()).collect();
    events.map(|event| received.iter().filter(|it| it["event"] == event).count())
}

#[test]
fn clocks_stand_still_and_go_on_together() {
    let server = commander().time("2024-02-28T23:59:59.500Z").start();
    let ada = server.open("/commander");
    let clock = || told(&ada, json!({ "do": "clock" }));
    assert_eq!(clock(), "2024-02-28T23:59:59.500Z");
    assert_eq!(clock(), "2024-02-28T23:59:59.500Z");
    server.advance(Duration::from_millis(1500));
    assert_eq!(clock(), "2024-02-29T00:00:01.000Z");
}

#[test]
fn a_schedule_runs_as_often_as_it_is_due() {
    let server = server();
    let observer = observer(&server);
    assert_eq!(counts(&observer, ["tick", "second"]), [0, 0]);
    server.advance(Duration::from_millis(19));
    assert_eq!(counts(&observer, ["tick", "second"]), [0, 0]);
    server.advance(Duration::from_millis(1));
    assert_eq!(counts(&observer, ["tick", "second"]), [1, 0]);
    server.advance(Duration::from_millis(980));
    assert_eq!(counts(&observer, ["tick", "second"]), [49, 1]);
}

#[test]
fn a_schedule_can_be_run_by_hand_and_says_how_that_went() {
    let server = server();
    let observer = observer(&server);
    server.run("Worker", "each_second").unwrap();
    assert_eq!(
        observer.received(),
        [json!({ "event": "second", "at": "2026-01-01T00:00:00.000Z" })]
    );
    let failing = commander()
        .example_in(GUESTS, "worker")
        .config("tick", "fail")
        .start();
    let outcome = failing.run("Worker", "tick");
    assert!(outcome.unwrap_err().contains("told to fail"));
}

#[test]
fn a_schedule_that_is_not_there_is_named_with_those_that_are() {
    let server = server();
    let said = |service: &str, schedule: &str| {
        let run = std::panic::AssertUnwindSafe(|| server.run(service, schedule));
        let panicked = std::panic::catch_unwind(run).err();
        *panicked
            .and_then(|it| it.downcast::<String>().ok())
            .unwrap()
    };
    assert_eq!(
        said("Cook", "tick"),
        "there is no service \"Cook\"; there are [\"Worker\"]"
    );
    assert_eq!(
        said("Worker", "tock"),
        "Worker has no schedule \"tock\"; it has [\"tick\", \"each_second\"]"
    );
}

#[test]
fn a_server_that_stops_says_farewell() {
    let server = server();
    let ada = server.open("/commander");
    _ = server.logs();
    server.stop();
    assert_eq!(ada.closed(), Some((1001, "Server is stopping".into())));
    assert_eq!(server.logs(), ["closed with 1001", "stops"]);
}

#[test]
fn a_time_that_is_none_is_refused() {
    let refused = Server::builder().time("noon").try_start();
    assert!(
        refused
            .err()
            .unwrap()
            .to_string()
            .starts_with("\"noon\" is no time")
    );
}
