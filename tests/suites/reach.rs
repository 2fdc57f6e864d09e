//! What any plugin can reach: its configuration, the key-value store of its tenant, other hosts.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tulpar_tests::{
    PATIENCE, Raw, Request, Server, Signal, Value, call, eventually, json, observer,
};

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

#[tokio::test]
async fn how_much_is_kept_at_once_does_not_depend_on_how_long_messages_are() {
    let limits = "max-message-bytes = 65536\nstore-value-bytes = 4194304";
    let server = Server::with(&["desk", "attach"])
        .config(&format!("[limits]\n{limits}"))
        .start();
    let told = json!({ "kv-set-of": ["b", "k", 3_000_000] });
    assert_eq!(call(&server, "/desk", told).await, Value::Null);
}

/// A host that answers each request with its path, but `/never`. Returns its port, and what tells of a `/never`.
async fn other_host() -> (u16, Arc<Notify>) {
    let asked_never = Arc::new(Notify::new());
    let asked = asked_never.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
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
                    asked.notify_one();
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
    (port, asked_never)
}

#[tokio::test]
async fn requests_go_to_granted_hosts_and_nowhere_else() {
    let (port, _) = other_host().await;
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
    let (port, _) = other_host().await;
    let server = Server::with(&["desk", "attach", "commander"])
        .config(&format!(
            "[limits]\ndeadline-ms = 2000\nrequest-deadline-ms = 4000\n\
             [plugin.desk]\nhosts = ['127.0.0.1:{port}']"
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
        "longer than 4000 ms (limits.request-deadline-ms)",
        "desk.wasm",
    ]);
    assert_eq!(
        call(&server, "/desk", json!({ "say": "still here" })).await,
        Value::Null
    );
}

#[tokio::test]
async fn a_plugin_has_no_more_requests_under_way_than_allowed() {
    let (port, asked_never) = other_host().await;
    let server = Server::with(&["desk", "attach"])
        .config(&format!(
            "[limits]\noutgoing-requests = 1\n[plugin.desk]\nhosts = ['127.0.0.1:{port}']"
        ))
        .start();
    let url = |path: &str| json!({ "fetch": format!("http://127.0.0.1:{port}{path}") });
    let answer = call(&server, "/desk", url("/hello")).await;
    assert_eq!(answer["status"], 200);
    // One after the other is one at a time. That one is over is known a moment after its answer.
    eventually("the next one to be allowed", async || {
        let answer = call(&server, "/desk", url("/hello")).await;
        (answer["status"] == 200).then_some(())
    })
    .await;
    let _asking = eventually("the other host to be asked", async || {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Request::post("/desk/obey", url("/never").to_string()).bytes())
            .await;
        tokio::select! {
            () = asked_never.notified() => Some(raw),
            response = raw.response() => {
                assert!(response.text().contains("error"), "{response:?}");
                None
            }
        }
    })
    .await;
    let answer = call(&server, "/desk", url("/hello")).await;
    assert!(answer["error"].is_string(), "{answer}");
}
