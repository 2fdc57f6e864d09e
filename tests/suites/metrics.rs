//! Each number that the server counts goes up when that happens which it counts, and by as much.

use std::collections::BTreeSet;

use tulpar_tests::{
    Connect, Opcode, Raw, Server, connect, eventually, frame, get, json, within, workspace,
};

/// Waits until a number is that.
async fn counts(server: &Server, name: &str, expected: u64) {
    eventually(&format!("{name} to be {expected}"), async || {
        (server.metric(name) == expected).then_some(())
    })
    .await;
}

fn refused(reason: &str) -> String {
    format!("tulpar_refused_total{{reason=\"{reason}\"}}")
}

fn lost(reason: &str) -> String {
    format!("tulpar_sockets_lost_total{{reason=\"{reason}\"}}")
}

fn server(config: &str) -> Server {
    Server::with(&["commander"]).config(config).start()
}

#[tokio::test]
async fn connections_and_sockets_are_counted() {
    let server = server("");
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "rooms" })).await;
    assert_eq!(get(server.address(), "/nowhere").await.status, 404);
    counts(&server, "tulpar_connections_total", 2).await;
    counts(&server, "tulpar_sockets_total", 1).await;
}

#[tokio::test]
async fn connections_over_the_limits_are_counted_by_the_limit() {
    for (config, reason, status) in [
        ("[limits]\nconnections = 1", "full", 503),
        ("[limits]\nconnections-per-address = 1", "address", 429),
        (
            "[plugin.commander]\nquotas = { connections = 1 }",
            "quota",
            503,
        ),
    ] {
        let server = server(config);
        let mut client = connect(server.url("/commander")).await;
        client.ask(json!({ "do": "rooms" })).await;
        let second = Connect::to(server.url("/commander")).attempt().await;
        assert_eq!(second.err(), Some(status), "{config}");
        counts(&server, &refused(reason), 1).await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_counted() {
    let server = server("[timeouts]\nhandshake-ms = 200");
    let mut raw = Raw::connect(server.address()).await;
    raw.write(b"this is no HTTP\r\n\r\n").await;
    counts(&server, &refused("request"), 1).await;
    let _late = Raw::connect(server.address()).await;
    counts(&server, &refused("request"), 2).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_counted() {
    let server = server("");
    let other = Connect::to(server.url("/commander")).header("origin", "http://other.example");
    assert_eq!(other.attempt().await.err(), Some(403));
    counts(&server, &refused("origin"), 1).await;
}

#[tokio::test]
async fn who_does_not_come_by_a_proxy_is_counted() {
    let server = server("[proxy]\nprotocol = true\ntrusted = ['192.0.2.1']");
    let _stranger = Raw::connect(server.address()).await;
    counts(&server, &refused("entrance"), 1).await;
}

#[tokio::test]
async fn sockets_that_break_the_rules_are_counted_by_the_rule() {
    let server = server("[limits]\nmax-message-bytes = 1000");
    for (reason, sent) in [
        ("protocol", vec![0xff, 0xff]),
        ("payload", frame(Opcode::Text, b"\xff").bytes()),
        ("size", frame(Opcode::Text, &[b'x'; 1001]).bytes()),
    ] {
        let mut raw = Raw::upgraded(server.address(), "/commander").await;
        raw.write(&sent).await;
        raw.close_frame().await;
        counts(&server, &lost(reason), 1).await;
    }
}

#[tokio::test]
async fn slow_consumers_are_counted_for_the_server_and_for_their_plugin() {
    let server = server("[limits]\noutbox-bytes = 10000");
    let mut raw = Raw::narrow(server.address(), "/commander").await;
    let flood = json!({ "do": "flood", "message": { "bytes_of": 9000 }, "at_most": 10000 });
    raw.send(frame(Opcode::Text, flood.to_string().as_bytes()))
        .await;
    counts(&server, &lost("slow"), 1).await;
    let listed = server.tulpar(&["plugins", "list", "--json"]);
    let listed: serde_json::Value =
        serde_json::from_str(&listed.expect("it lists")).expect("it is JSON");
    assert_eq!(listed[0]["messages"]["slow-consumers"], 1);
    assert!(listed[0]["messages"]["dropped"].as_u64() > Some(0));
}

#[tokio::test]
async fn silent_peers_are_counted() {
    let server = server("[timeouts]\nping-ms = 50\npong-ms = 50");
    let _silent = Raw::upgraded(server.address(), "/commander").await;
    counts(&server, &lost("silent"), 1).await;
}

#[tokio::test]
async fn messages_that_have_to_wait_are_counted() {
    let server = server("[limits]\nsocket-messages-per-second = 10");
    let mut client = connect(server.url("/commander")).await;
    within("three messages", async {
        for _ in 0..3 {
            client.ask(json!({ "do": "rooms" })).await;
        }
    })
    .await;
    let waited = server.metric("tulpar_held_back_total");
    assert!((1..=3).contains(&waited), "{waited}");
}

fn of(name: &str, tenant: &str, plugin: &str) -> String {
    format!("tulpar_{name}{{tenant=\"{tenant}\",plugin=\"{plugin}\"}}")
}

#[tokio::test]
async fn messages_are_counted_for_their_plugin_each_way() {
    let server = Server::with(&["commander"]).start();
    let count = |name: &str| server.metric(&of(name, "@root", "commander"));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = connect(server.url("/commander")).await;
        client.ask(json!({ "do": "rooms" })).await;
        clients.push(client);
    }
    assert_eq!(count("namespace_sockets"), 3);
    let (received, sent) = (
        count("messages_received_total"),
        count("messages_sent_total"),
    );
    assert_eq!((received, sent), (3, 3));
    let bytes = count("sent_bytes_total");
    let all = json!({ "do": "broadcast", "message": { "bytes_of": 1000 } });
    clients[0].send(all.to_string()).await;
    // When the call is counted, all that came of it is.
    let calls = "tulpar_plugin_call_seconds_count{tenant=\"@root\",plugin=\"commander\",call=\"on-message\"}";
    counts(&server, calls, 4).await;
    // To each of them, and the answer.
    assert_eq!(count("messages_sent_total"), 3 + 3 + 1);
    assert_eq!(count("messages_received_total"), 4);
    let grown = count("sent_bytes_total") - bytes;
    assert!((3000..3100).contains(&grown), "{grown}");
}

#[tokio::test]
async fn calls_that_fail_are_counted_by_how_they_do() {
    let server = Server::with(&["commander"])
        .config("[limits]\nquarantine-failures = 0\ndeadline-ms = 500")
        .start();
    for (how, name) in [
        (
            json!({ "do": "panic", "text": "told to" }),
            "plugin_traps_total",
        ),
        (json!({ "do": "loop" }), "plugin_overruns_total"),
    ] {
        let mut client = connect(server.url("/commander")).await;
        client.send(how.to_string()).await;
        counts(&server, &of(name, "@root", "commander"), 1).await;
    }
    counts(
        &server,
        &of("plugin_failures_total", "@root", "commander"),
        2,
    )
    .await;
}

/// What a server counts only when it is joined with others or has a service, and the dashboard shows. The suites of clusters
/// read it.
const OF_OTHERS: [&str; 4] = [
    "tulpar_backplane_connected",
    "tulpar_backplane_nodes",
    "tulpar_backplane_lost_total",
    "tulpar_service_schedules",
];

/// What is read of it stands in the documentation and on the dashboard under the same names.
#[tokio::test]
async fn the_documentation_names_each_number_and_the_dashboard_no_other() {
    let server = Server::with(&["commander", "attach", "desk"]).start();
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "rooms" })).await;
    let text = server.metrics();
    let series: BTreeSet<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let read = |file: &str| std::fs::read_to_string(workspace().join(file)).expect("it is there");
    let documentation = read("docs/metrics.md");
    for name in series.iter().chain(&OF_OTHERS) {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|it| name.strip_suffix(it));
        let name = format!("`{}`", histogram.unwrap_or(name));
        assert!(documentation.contains(&name), "{name} is not documented");
    }
    let dashboard = read("docs/deploy/grafana.json");
    let mut shown = 0;
    for (at, _) in dashboard
        .match_indices("tulpar_")
        .chain(dashboard.match_indices("process_"))
    {
        let rest = &dashboard[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        assert!(
            series.contains(name) || OF_OTHERS.contains(&name),
            "the dashboard shows {name}"
        );
        shown += 1;
    }
    assert!(shown > 20, "{shown}");
}
