//! How a node shows its broker who it is, and is shown who the broker is. Passwords are told to nobody else.

use std::path::Path;

use tulpar_tests::{
    Certificate, Credentials, Nats, Nodes, Server, connect, hear_each_other, json, with_tls,
};

/// Two nodes with this beside are joined.
async fn joins(nodes: Nodes) {
    let cluster = nodes.join().await;
    let mut members = cluster.members("/commander", "red").await;
    hear_each_other(&mut members, "red").await;
}

/// A node that has to be let in, and is not: it ends and says why. Returns what it says.
fn is_kept_out(nodes: Nodes, lines: &str) -> String {
    let nodes = nodes.backplane(&format!("required = true\n{lines}"));
    let (status, server) = nodes.builder().0.start_in_vain();
    assert_eq!(status.code(), Some(1));
    server.has_not_panicked();
    server.stderr.text()
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[tokio::test]
async fn a_node_logs_in_by_name_or_by_token() {
    for (lines, right, wrong) in [
        (
            "authorization { user: ada, password: s3cret }",
            "user = 'ada'\npassword = 's3cret'",
            "user = 'ada'\npassword = 'wr0ng'",
        ),
        (
            "authorization { token: s3cret }",
            "token = 's3cret'",
            "token = 'wr0ng'",
        ),
    ] {
        let Some(nats) = Nats::with(lines) else {
            return;
        };
        joins(Nodes::of(2, &nats).backplane(right)).await;
        for lines in [wrong, ""] {
            let said = is_kept_out(Nodes::of(1, &nats), lines);
            assert!(said.contains(&nats.url()), "{said}");
            assert!(said.contains("authorization violation"), "{said}");
            assert!(!said.contains("wr0ng"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_node_that_is_kept_out_serves_alone_and_says_so() {
    let Some(nats) = Nats::with("authorization { token: s3cret }") else {
        return;
    };
    let cluster = Nodes::of(1, &nats).backplane("token = 'wr0ng'").start();
    cluster[0].log_line(&["no connection to NATS"]);
    cluster[0].log_line(&["NATS cannot be connected to", "authorization violation"]);
    assert_eq!(cluster[0].metric("tulpar_backplane_connected"), 0);
    let mut client = connect(cluster[0].url("/commander")).await;
    assert_eq!(client.ask(json!({ "do": "sockets" })).await, 1);
    let shown = cluster[0].tulpar(&["config", "--config", "tulpar.toml"]);
    for text in [cluster[0].stderr.text(), shown.expect("it is shown")] {
        assert!(!text.contains("wr0ng"), "{text}");
    }
}

#[tokio::test]
async fn a_node_logs_in_with_credentials() {
    let credentials = Credentials::new();
    let Some(nats) = Nats::with(credentials.lines()) else {
        return;
    };
    let file = quoted(&credentials.file());
    joins(Nodes::of(2, &nats).backplane(&format!("credentials = {file}"))).await;
    let others = Credentials::new();
    let file = quoted(&others.file());
    is_kept_out(Nodes::of(1, &nats), &format!("credentials = {file}"));
    let missing = credentials.file().with_file_name("missing.creds");
    let lines = format!("credentials = {}", quoted(&missing));
    let said = is_kept_out(Nodes::of(1, &nats), &lines);
    assert!(said.contains("missing.creds"), "{said}");
}

#[tokio::test]
async fn a_node_reaches_its_broker_by_tls_and_is_not_deceived() {
    let [certificate, other] = [Certificate::new(), Certificate::new()];
    let Some(nats) = Nats::with(&with_tls(&certificate, None)) else {
        return;
    };
    let ca = format!("ca = {}", quoted(&certificate.files()[0]));
    // Also when the address does not say so, since the broker asks for it.
    for scheme in ["tls", "nats"] {
        let url = format!("{scheme}://localhost:{}", nats.address().port());
        joins(Nodes::at(2, vec![url.clone()]).backplane(&ca)).await;
        let wrong = format!("ca = {}", quoted(&other.files()[0]));
        is_kept_out(Nodes::at(1, vec![url]), &wrong);
    }
    // It is the certificate of another name.
    let url = format!("tls://{}", nats.address());
    is_kept_out(Nodes::at(1, vec![url]), &ca);
}

#[tokio::test]
async fn a_node_sends_nothing_in_the_clear_to_a_broker_that_was_to_be_encrypted() {
    let Some(nats) = Nats::with("authorization { token: s3cret }") else {
        return;
    };
    let url = format!("tls://{}", nats.address());
    is_kept_out(Nodes::at(1, vec![url]), "token = 's3cret'");
}

#[tokio::test]
async fn a_node_shows_its_own_certificate() {
    let [certificate, own, other] = [(); 3].map(|()| Certificate::new());
    let Some(nats) = Nats::with(&with_tls(&certificate, Some(&own))) else {
        return;
    };
    let url = format!("tls://localhost:{}", nats.address().port());
    let lines = |own: &Certificate| {
        let [file, key] = own.files();
        format!(
            "ca = {}\ncertificate = {}\nkey = {}",
            quoted(&certificate.files()[0]),
            quoted(&file),
            quoted(&key)
        )
    };
    joins(Nodes::at(2, vec![url.clone()]).backplane(&lines(&own))).await;
    is_kept_out(Nodes::at(1, vec![url.clone()]), &lines(&other));
    let none = format!("ca = {}", quoted(&certificate.files()[0]));
    is_kept_out(Nodes::at(1, vec![url]), &none);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_begins() {
    for (lines, why) in [
        ("kind = 'nats'\nservers = []", "backplane.servers"),
        (
            "kind = 'nats'\nservers = ['nats://ada:s3cret@x']",
            "belong into",
        ),
        ("kind = 'redis'", "redis"),
        ("prefix = 'a.*'", "backplane.prefix"),
        ("user = 'ada'", "both or neither"),
        ("cut-off = 'wait'", "wait"),
        ("heartbeat-ms = 0", "heartbeat-ms"),
        ("store = 'jetstream'", "needs"),
        ("sever = ['nats://x']", "servers"),
    ] {
        let server = Server::with(&[]).config(&format!("[backplane]\n{lines}"));
        let (status, server) = server.start_in_vain();
        assert_ne!(status.code(), Some(0), "{lines}");
        let said = server.stderr.text();
        assert!(said.contains(why), "{lines}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
