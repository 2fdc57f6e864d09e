//! How many connections there may be, in all and from one address, and where a client is that comes by way of a proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;
use tulpar_tests::{
    Client, Connect, Mould, Opcode, Raw, Request, Response, Server, Value, connect, eventually,
    expect_echo, expect_error, frame, get, json, within,
};

fn server(config: &str) -> Server {
    Server::with(&["commander"]).config(config).start()
}

/// A connection from another address of this machine, 127.0.0.`last`.
async fn from(server: &Server, last: u8) -> Raw {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let own = SocketAddr::from(([127, 0, 0, last], 0));
    socket.bind(own).expect("the address is this machine's");
    let stream = within("a TCP connection", socket.connect(server.address())).await;
    stream.expect("the server accepts").into()
}

/// The answer to an upgrade, with `X-Forwarded-For` when it is said.
async fn upgrade(raw: &mut Raw, forwarded_for: Option<&str>) -> Response {
    let mut headers = Raw::upgrade_headers();
    headers.extend(forwarded_for.map(|value| ("X-Forwarded-For", value)));
    raw.write(&Raw::request("GET", "/commander", &headers))
        .await;
    raw.response().await
}

fn expect_too_many(response: &Response) {
    expect_error(response, 429, "Too Many Connections");
    assert_eq!(response.header("retry-after"), Some("1"));
}

/// Waits until there is a place for one more.
async fn become_free(server: &Server) -> Client {
    eventually("a place to be free", async || {
        Connect::to(server.url("/commander")).attempt().await.ok()
    })
    .await
}

#[tokio::test]
async fn the_server_has_as_many_connections_as_allowed_and_not_one_more() {
    // One that is silent has its place for as long as the test lasts.
    let server = server("[limits]\nconnections = 3\n[timeouts]\nhandshake-ms = 60000");
    let mut one = connect(server.url("/commander")).await;
    let two = connect(server.url("/commander")).await;
    // One that has asked for nothing is one too.
    let mut silent = Raw::connect(server.address()).await;
    silent.write(b"GET /commander HTTP/1.1\r\n").await;
    // It is counted when it is accepted, which comes before all that is asked later.
    one.expect_nothing().await;
    let mut over = Raw::connect(server.address()).await;
    let refused = upgrade(&mut over, None).await;
    expect_error(&refused, 503, "Service Unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(over.rest().await, b"");
    let plain = get(server.address(), "/commander").await;
    expect_error(&plain, 503, "Service Unavailable");
    // Those that are there feel nothing.
    one.expect_nothing().await;
    drop(two);
    let mut again = become_free(&server).await;
    again.expect_nothing().await;
    drop(silent);
    become_free(&server).await;
}

#[tokio::test]
async fn c3_a_terminated_socket_whose_peer_does_not_read_frees_its_place_at_once() {
    let server = server("[limits]\nconnections = 2\n[timeouts]\nclose-ms = 60000");
    let mut other = connect(server.url("/commander")).await;
    let mut deaf = Raw::narrow(server.address(), "/commander").await;
    deaf.send(frame(Opcode::Text, br#"{"do":"id"}"#)).await;
    let answer: Value = serde_json::from_slice(&deaf.frame().await.payload).expect("it is JSON");
    let on = |what: &str| json!({ "do": what, "on": answer["answer"] });
    let mut send = on("send");
    send["message"] = "x".repeat(500_000).into();
    assert_eq!(other.ask(send).await, "done");
    // Its connection waits until the operating system takes more.
    assert_ne!(other.ask(on("buffered-amount")).await, 0);
    assert_eq!(other.ask(on("terminate")).await, "done");
    become_free(&server).await;
}

#[tokio::test]
async fn connections_that_are_one_too_many_and_say_nothing_cost_nobody() {
    let server = server("[limits]\nconnections = 1\n[timeouts]\nhandshake-ms = 300");
    // The time is short for who does ask too: one that was held up and hears nothing asks again.
    let open = async || {
        eventually("a place to be free", async || {
            Connect::to(server.url("/commander")).if_it_listens().await
        })
        .await
    };
    let mut one = open().await;
    // More than are told that they are one too many.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(Raw::connect(server.address()).await);
    }
    one.expect_nothing().await;
    for raw in &mut silent {
        raw.rest().await;
    }
    let over = eventually("an answer", async || {
        let mut raw = Raw::connect(server.address()).await;
        raw.write(&Raw::request("GET", "/commander", &[])).await;
        raw.outcome("GET").await.ok()
    })
    .await;
    assert_eq!(over.status, 503);
    drop(one);
    open().await;
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_allowed_and_not_one_more() {
    let server = server("[limits]\nconnections-per-address = 2");
    let one = connect(server.url("/commander")).await;
    let mut two = connect(server.url("/commander")).await;
    for _ in 0..3 {
        let mut over = from(&server, 1).await;
        expect_too_many(&upgrade(&mut over, None).await);
        assert_eq!(over.rest().await, b"");
    }
    // What somebody says who is not trusted changes nothing.
    let mut over = from(&server, 1).await;
    expect_too_many(&upgrade(&mut over, Some("192.0.2.1")).await);
    let mut other = from(&server, 2).await;
    assert_eq!(upgrade(&mut other, None).await.status, 101);
    two.expect_nothing().await;
    drop(one);
    become_free(&server).await;
}

#[tokio::test]
async fn a_refused_connection_takes_nobodys_place() {
    let server = server("[limits]\nconnections = 2\nconnections-per-address = 1");
    let _one = connect(server.url("/commander")).await;
    for _ in 0..5 {
        expect_too_many(&upgrade(&mut from(&server, 1).await, None).await);
    }
    let mut other = from(&server, 2).await;
    assert_eq!(upgrade(&mut other, None).await.status, 101);
}

#[tokio::test]
async fn a_trusted_proxys_sockets_are_counted_for_the_addresses_that_it_says() {
    let server = server(
        "[limits]\nconnections-per-address = 2\n[proxy]\ntrusted = ['127.0.0.1', '10.0.0.0/8']",
    );
    let mut open = Vec::new();
    let try_open = async |forwarded_for: &str| {
        let mut raw = from(&server, 1).await;
        let response = upgrade(&mut raw, Some(forwarded_for)).await;
        if response.status != 101 {
            expect_too_many(&response);
        }
        (response.status, raw)
    };
    for (forwarded_for, status) in [
        ("192.0.2.1", 101),
        ("192.0.2.1:4711", 101),
        ("192.0.2.1", 429),
        // The last is whom the proxy has seen; what is before it anybody may have written.
        ("203.0.113.9, 192.0.2.1", 429),
        ("192.0.2.1, 10.0.0.7", 429),
        ("192.0.2.1, 192.0.2.2", 101),
        // All addresses of one network are one.
        ("2001:db8::1", 101),
        ("2001:db8::2", 101),
        ("2001:db8::ffff:0:0:3", 429),
        ("2001:db8:0:1::1", 101),
    ] {
        let (got, raw) = try_open(forwarded_for).await;
        assert_eq!(got, status, "{forwarded_for}");
        open.extend((got == 101).then_some(raw));
    }
    // The proxy itself has more than two.
    for _ in 0..3 {
        open.push(Raw::connect(server.address()).await);
    }
    expect_echo(&server, "/commander").await;
    // A connection that is refused a socket may ask for something else.
    let (_, mut raw) = try_open("192.0.2.1").await;
    raw.write(&Raw::request("GET", "/commander", &[])).await;
    assert_eq!(raw.response().await.status, 426);
    open.remove(0);
    eventually("a place to be free", async || {
        let (status, raw) = try_open("192.0.2.1").await;
        (status == 101).then_some(raw)
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_says_where_a_client_is() {
    let namespace = Mould::namespace("/gated").set("middlewares", json!(["gate"]));
    let server = Server::with(&["commander"])
        .file("gate.wasm", &Mould::middleware("gate").bytes())
        .file("gated.wasm", &namespace.bytes())
        .config("[proxy]\ntrusted = ['127.0.0.1', '10.0.0.0/8']")
        .start();
    let describe = json!([{ "do": "describe", "queries": [], "headers": [] }]).to_string();
    for (last, forwarded_for, expected) in [
        (1, &[][..], "127.0.0.1"),
        (1, &["192.0.2.1"], "192.0.2.1"),
        (1, &["203.0.113.9", "192.0.2.1, 10.0.0.7"], "192.0.2.1"),
        (1, &["2001:db8::1"], "2001:db8::1"),
        (1, &["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        (1, &["unknown"], "127.0.0.1"),
        (1, &["192.0.2.1, unknown, 10.0.0.7"], "10.0.0.7"),
        (2, &["192.0.2.1"], "127.0.0.2"),
    ] {
        let headers = forwarded_for
            .iter()
            .map(|value| ("X-Forwarded-For", *value));
        let mut request: Vec<_> = headers.clone().collect();
        request.push(("x-gate", &describe));
        let mut raw = from(&server, last).await;
        raw.write(&Raw::request("GET", "/gated", &request)).await;
        let seen: Value = serde_json::from_str(raw.response().await.text()).expect("it is JSON");
        assert_eq!(seen["remote-address"], expected, "{forwarded_for:?}");
        if last == 1 {
            let connect = Connect::to(server.url("/commander"));
            let connect = headers.fold(connect, |it, (name, value)| it.header(name, value));
            let mut client = connect.open().await;
            let seen = client.ask(json!({ "do": "remote-address" })).await;
            assert_eq!(seen, expected, "{forwarded_for:?}");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_written_in_another_way_is_the_same() {
    let all = SocketAddr::from(([0_u16; 8], 0));
    let server = Server::with(&["commander"])
        .listen(all)
        .config("[proxy]\ntrusted = ['127.0.0.1']")
        .start();
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), server.address().port());
    let connect = || Connect::to(format!("ws://{local}/commander"));
    let mut client = connect().open().await;
    let seen = client.ask(json!({ "do": "remote-address" })).await;
    assert_eq!(seen, "127.0.0.1");
    let mut client = connect()
        .header("X-Forwarded-For", "::ffff:192.0.2.1")
        .open()
        .await;
    let seen = client.ask(json!({ "do": "remote-address" })).await;
    assert_eq!(seen, "192.0.2.1");
    assert_eq!(Request::get("/").send(local).await.status, 404);
}
