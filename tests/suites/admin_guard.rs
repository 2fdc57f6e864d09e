//! Who may ask on the admin address: the token, the name it is asked for by, the page that asks, and how much at once.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tulpar_tests::{Operator, Raw, Request, Response, Server, eventually, get, json};

const TOKEN: &str = "a-token-of-32-bytes-for-the-test";
/// What needs the token.
const SECRET: [&str; 6] = [
    "/metrics",
    "/api/overview",
    "/api/plugins",
    "/api/sockets?namespace=/echo",
    "/api/log?plugin=echo",
    "/api/nothing",
];

fn start(config: &str) -> Server {
    let config = format!("[admin]\nlisten = '127.0.0.1:0'\n{config}");
    Server::with(&["echo"]).config(&config).start()
}

/// The response to a request with these lines as its head.
async fn respond(address: SocketAddr, lines: &[&str]) -> Response {
    let mut raw = Raw::connect(address).await;
    raw.write(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())
        .await;
    raw.response().await
}

/// What an order to disable a plugin that is not there gets: 409 when it is heard.
async fn order(server: &Server, headers: &[(&str, &str)]) -> u16 {
    let order = json!({ "plugin": "nobody", "action": "disable" }).to_string();
    let request = headers
        .iter()
        .fold(Request::post("/api/plugins", order), |it, (name, value)| {
            it.header(name, value)
        });
    request.send(server.page()).await.status
}

#[tokio::test]
async fn there_is_no_address_unless_it_is_asked_for() {
    let server = Server::with(&["echo"]).start();
    assert!(!server.stdout.text().contains("live page"));
    let server = Server::with(&["echo"]).arg("--dev").start();
    assert!(server.page().ip().is_loopback());
    assert_eq!(
        Operator::of(&server).get("/api/overview").await["server"]["dev"],
        true
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is one");
    let address = taken.local_addr().expect("it has one");
    let config = format!("[admin]\nlisten = '{address}'");
    let (status, server) = Server::with(&[]).config(&config).start_in_vain();
    assert_eq!(ExitStatus::code(&status), Some(1));
    let why = format!("cannot listen on {address} (admin.listen)");
    assert!(
        server.stderr.text().contains(&why),
        "{}",
        server.stderr.text()
    );
}

#[tokio::test]
async fn an_address_for_others_needs_a_token() {
    let config = "[admin]\nlisten = '0.0.0.0:0'";
    let (status, server) = Server::with(&[]).config(config).start_in_vain();
    assert_eq!(ExitStatus::code(&status), Some(2));
    let said = server.stderr.text();
    assert!(said.contains("it needs `admin.token` beside it"), "{said}");
    let server = Server::with(&[])
        .config(config)
        .env("TULPAR_ADMIN_TOKEN", TOKEN)
        .start();
    let page = SocketAddr::from(([127, 0, 0, 1], server.page().port()));
    assert_eq!(get(page, "/api/overview").await.status, 401);
}

#[tokio::test]
async fn the_token_is_asked_for() {
    let server = start(&format!("token = '{TOKEN}'"));
    let operator = Operator::with_token(&server, TOKEN);
    for path in SECRET {
        let response = get(server.page(), path).await;
        assert_eq!(response.status, 401, "{path}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert_ne!(
            operator.send(Request::get(path)).await.status,
            401,
            "{path}"
        );
    }
    // The page is there a moment before clients are served.
    eventually("the server to be ready", async || {
        (get(server.page(), "/ready").await.status == 200).then_some(())
    })
    .await;
    for path in ["/live", "/ready", "/", "/main.js", "/style.css"] {
        assert_eq!(get(server.page(), path).await.status, 200, "{path}");
    }
    let longer = format!("{TOKEN}x");
    for said in [
        "",
        TOKEN,
        &format!("Basic {TOKEN}"),
        "Bearer",
        "Bearer ",
        &format!("Bearer {}", &TOKEN[1..]),
        &format!("Bearer {}", &TOKEN[..31]),
        &format!("Bearer {longer}"),
        &format!("Bearer {}", TOKEN.to_uppercase()),
    ] {
        let request = Request::get("/api/overview").header("Authorization", said);
        assert_eq!(request.send(server.page()).await.status, 401, "{said}");
    }
    let right = format!("Bearer {TOKEN}");
    let twice = Request::get("/api/overview").header("Authorization", &right);
    let twice = twice.header("Authorization", &right);
    assert_eq!(twice.send(server.page()).await.status, 401);
    let small = Request::get("/api/overview").header("authorization", &format!("bearer {TOKEN}"));
    assert_eq!(small.send(server.page()).await.status, 200);
    let in_address = get(server.page(), &format!("/api/overview?token={TOKEN}")).await;
    assert_eq!(in_address.status, 401);
    assert!(!server.stderr.text().contains(TOKEN) && !server.stdout.text().contains(TOKEN));
}

#[tokio::test]
async fn nothing_is_answered_under_another_name() {
    let server = start("hosts = ['admin.example.com', '*.example.org']");
    let page = server.page();
    let as_host = async |host: &str| {
        let host = format!("Host: {host}");
        respond(page, &["GET /api/overview HTTP/1.1", &host])
            .await
            .status
    };
    for own in [
        "localhost",
        "LOCALHOST:3001",
        "127.0.0.1",
        &page.to_string(),
        "[::1]:3001",
        "192.0.2.1:80",
        "admin.example.com",
        "admin.example.com:8443",
        "a.example.org",
    ] {
        assert_eq!(as_host(own).await, 200, "{own}");
    }
    for foreign in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:3001",
        "example.org",
        "127.0.0.1.evil.example",
        "user@localhost",
        "",
        "a b",
    ] {
        assert_eq!(as_host(foreign).await, 421, "{foreign}");
    }
    for lines in [
        &["GET / HTTP/1.0"][..],
        &["GET / HTTP/1.1", "Host: localhost", "Host: localhost"],
        &["GET http://evil.example/ HTTP/1.1", "Host: localhost"],
    ] {
        assert_eq!(respond(page, lines).await.status, 421, "{lines:?}");
    }
    // Also for the page itself and what needs no token.
    let evil = respond(page, &["GET / HTTP/1.1", "Host: evil.example"]).await;
    assert_eq!(evil.status, 421);
}

#[tokio::test]
async fn load_balancers_ask_under_any_name_and_by_head_too() {
    let server = start(&format!("token = '{TOKEN}'"));
    let page = server.page();
    eventually("the server to be ready", async || {
        (get(page, "/ready").await.status == 200).then_some(())
    })
    .await;
    for path in ["/live", "/ready"] {
        for lines in [
            &[&*format!("GET {path} HTTP/1.0")][..],
            &[&format!("GET {path} HTTP/1.1"), "Host: backend.example"],
        ] {
            assert_eq!(respond(page, lines).await.status, 200, "{lines:?}");
        }
        let mut raw = Raw::connect(page).await;
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: backend.example\r\n\r\n");
        raw.write(head.as_bytes()).await;
        let response = raw.outcome("HEAD").await.expect("it is whole");
        assert_eq!((response.status, response.text()), (200, ""));
    }
    // Nothing else.
    let other = respond(page, &["GET /metrics HTTP/1.1", "Host: backend.example"]);
    assert_eq!(other.await.status, 421);
}

#[tokio::test]
async fn pages_of_elsewhere_change_nothing_and_read_nothing() {
    for config in ["", "token = 'a-token-of-32-bytes-for-the-test'"] {
        let server = start(config);
        let bearer = format!("Bearer {TOKEN}");
        let port = server.page().port();
        let (json, own) = (("Content-Type", "application/json"), ("Tulpar-Admin", "1"));
        let known = if config.is_empty() {
            own
        } else {
            ("Authorization", bearer.as_str())
        };
        // The helper asks for `localhost`, whose port is 80 when none is said.
        assert_eq!(order(&server, &[json, known]).await, 409);
        assert_eq!(
            order(&server, &[json, known, ("Origin", "http://localhost")]).await,
            409
        );
        for origin in [
            "http://evil.example",
            "null",
            "",
            "http://localhost.evil.example",
            &format!("http://localhost:{port}"),
            "http://127.0.0.1",
        ] {
            let origin = ("Origin", origin);
            assert_eq!(
                order(&server, &[json, known, origin]).await,
                403,
                "{origin:?}"
            );
            let read = Request::get("/api/overview").header(known.0, known.1);
            let read = read.header(origin.0, origin.1).send(server.page()).await;
            assert_eq!(read.status, 403, "{origin:?}");
            assert_eq!(read.header("access-control-allow-origin"), None);
        }
        for form in [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain",
        ] {
            let content_type = ("Content-Type", form);
            assert_eq!(order(&server, &[content_type, known]).await, 415, "{form}");
        }
        assert_eq!(order(&server, &[known]).await, 415);
        let refused = if config.is_empty() { 403 } else { 401 };
        assert_eq!(order(&server, &[json]).await, refused);
        // A browser that asks first gets no permission.
        let asked = Request::new("OPTIONS", "/api/plugins")
            .header("Origin", "http://evil.example")
            .header("Access-Control-Request-Method", "POST");
        let asked = asked.send(server.page()).await;
        assert_eq!(asked.status, 403);
        assert_eq!(asked.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn what_is_not_changed_by_one_method_is_not_by_another() {
    let server = start("uploads = true");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/", "/live", "/api/overview", "/api/socket", "/metrics"] {
            let request = Request::new(method, path).header("Tulpar-Admin", "1");
            let request = request.header("Content-Type", "application/json");
            assert_eq!(
                request.send(server.page()).await.status,
                404,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let server = start("");
    for path in [
        "/",
        "/main.js",
        "/style.css",
        "/icon.svg",
        "/api/overview",
        "/metrics",
        "/nothing",
    ] {
        let response = get(server.page(), path).await;
        assert_eq!(
            response.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        let policy = response.header("cross-origin-resource-policy");
        assert_eq!(policy, Some("same-origin"), "{path}");
    }
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = get(server.page(), path).await;
        assert_eq!(response.header("content-type"), Some(media_type));
        let policy = response
            .header("content-security-policy")
            .expect("there is one");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "script-src 'self';",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn connections_to_it_are_bounded_and_cost_clients_nothing() {
    // For how long the server waits for a request.
    const PATIENCE: Duration = Duration::from_secs(5);
    let server = start("");
    let begun = Instant::now();
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut raw = Raw::connect(server.page()).await;
        raw.write(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(raw.response().await.status, 200);
        // A request that never ends.
        raw.write(b"GET /live HTTP/1.1\r\n").await;
        held.push(raw);
    }
    // One more has to wait until one of these has had its time.
    let mut waiting = Raw::connect(server.page()).await;
    waiting
        .write(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    tulpar_tests::expect_echo(&server, "/echo").await;
    assert_eq!(waiting.response().await.status, 200);
    let waited = begun.elapsed();
    assert!(waited >= PATIENCE, "it had a place after {waited:?}");
}
