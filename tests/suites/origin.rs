//! Which pages may have a socket: rule C10.

use tulpar_tests::{Mould, Raw, Response, Server, expect_error, json};

/// The answer to an upgrade of `path` with `Host: localhost` and these headers beside.
async fn upgrade(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut all = Raw::upgrade_headers();
    all.extend(headers);
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request("GET", path, &all)).await;
    raw.response().await
}

async fn from(server: &Server, path: &str, origin: &str) -> u16 {
    let response = upgrade(server, path, &[("Origin", origin)]).await;
    if response.status != 101 {
        expect_error(&response, 403, "Forbidden");
    }
    response.status
}

#[tokio::test]
async fn c10_a_page_of_the_servers_own_host_may_connect_and_another_may_not() {
    let server = Server::with(&["commander"]).start();
    for (origin, status) in [
        ("http://localhost", 101),
        ("https://localhost", 101),
        ("http://LOCALHOST:80", 101),
        ("http://localhost:3000", 403),
        ("http://localhost.", 403),
        ("http://localhost.evil.com", 403),
        ("http://evil-localhost", 403),
        ("https://evil.com", 403),
        ("null", 403),
        ("", 403),
        ("localhost", 403),
        ("http://localhost/", 403),
        ("http://localhost http://localhost", 403),
        ("http://localhost, http://localhost", 403),
        ("http://user@localhost", 403),
    ] {
        assert_eq!(
            from(&server, "/commander", origin).await,
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn c10_the_port_is_part_of_the_host() {
    let server = Server::with(&["commander"]).start();
    let host = server.address();
    for (origin, status) in [
        (format!("http://{host}"), 101),
        (format!("https://{host}"), 101),
        ("http://127.0.0.1".to_owned(), 403),
        (format!("http://localhost:{}", host.port()), 403),
    ] {
        let head = format!("GET /commander HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n");
        let headers = Raw::upgrade_headers();
        let headers = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let request = head + &headers.collect::<String>() + "\r\n";
        let mut raw = Raw::connect(server.address()).await;
        raw.write(request.as_bytes()).await;
        assert_eq!(raw.response().await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn c10_a_request_without_an_origin_may_connect() {
    let server = Server::with(&["commander"]).start();
    assert_eq!(upgrade(&server, "/commander", &[]).await.status, 101);
}

#[tokio::test]
async fn c10_several_origins_or_hosts_are_refused() {
    let server = Server::with(&["commander"])
        .config("[sockets]\norigins = ['*']")
        .start();
    let own = ("Origin", "http://localhost");
    let twice = upgrade(&server, "/commander", &[own, own]).await;
    expect_error(&twice, 403, "Forbidden");
    let server = Server::with(&["commander"]).start();
    let hosts = upgrade(&server, "/commander", &[own, ("Host", "localhost")]).await;
    expect_error(&hosts, 403, "Forbidden");
}

#[tokio::test]
async fn c10_what_is_listed_may_connect_and_what_looks_like_it_may_not() {
    let server = Server::with(&["commander"])
        .config("[sockets]\norigins = ['https://app.example.com', 'https://*.example.org']")
        .start();
    for (origin, status) in [
        ("http://localhost", 101),
        ("https://app.example.com", 101),
        ("https://APP.Example.com:443", 101),
        ("http://app.example.com", 403),
        ("https://app.example.com:8443", 403),
        ("https://x.app.example.com", 403),
        ("https://evil-app.example.com", 403),
        ("https://app.example.com.evil.com", 403),
        ("https://a.example.org", 101),
        ("https://a.b.example.org", 101),
        ("https://example.org", 403),
        ("https://evil-example.org", 403),
        ("https://a.example.org.evil.com", 403),
        ("null", 403),
    ] {
        assert_eq!(
            from(&server, "/commander", origin).await,
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn c10_each_namespace_has_its_own_list() {
    let server = Server::with(&["commander", "echo"])
        .tenant("acme", &["commander", "echo"])
        .config(
            "[sockets]\norigins = ['https://all.com']\n\
             [tenant.acme]\nsockets = { origins = ['https://acme.com'] }\n\
             [plugin.'acme/echo']\nsockets = { origins = [] }\n\
             [plugin.echo]\nsockets = { origins = ['*'] }",
        )
        .start();
    for (path, origins) in [
        ("/commander", &["https://all.com"][..]),
        ("/acme/commander", &["https://acme.com"]),
        ("/acme/echo", &[]),
        ("/echo", &["https://all.com", "https://acme.com", "null"]),
    ] {
        for origin in ["https://all.com", "https://acme.com", "null"] {
            let status = if origins.contains(&origin) { 101 } else { 403 };
            assert_eq!(from(&server, path, origin).await, status, "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn c10_a_page_that_may_not_connect_reaches_no_middleware() {
    let namespace = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&[])
        .file("gate.wasm", &Mould::middleware("gate").bytes())
        .file("gated.wasm", &namespace.bytes())
        .start();
    let respond = json!([{ "do": "respond", "status": 418, "headers": [], "body": "" }]);
    let respond = respond.to_string();
    let asks = |origin| [("Origin", origin), ("x-gate", respond.as_str())];
    let own = upgrade(&server, "/gated", &asks("http://localhost")).await;
    assert_eq!(own.status, 418);
    let other = upgrade(&server, "/gated", &asks("http://evil.com")).await;
    expect_error(&other, 403, "Forbidden");
    // A request that asks for no socket is the middleware's.
    let headers = asks("http://evil.com");
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::request("GET", "/gated", &headers)).await;
    assert_eq!(raw.response().await.status, 418);
}
