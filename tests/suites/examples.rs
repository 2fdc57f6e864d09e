//! The example plugins, message by message as their documentation has them.

use std::time::{Duration, Instant};

use tulpar_tests::{
    Client, Connect, Message, Raw, Request, Response, Server, connect, get, is_timestamp,
};

/// The message is this one but for its timestamp, which has the form of one.
async fn expect_with_timestamp(client: &mut Client, start: &str) {
    let text = client.recv_text().await;
    let timestamp = text
        .strip_prefix(start)
        .and_then(|rest| rest.strip_prefix(r#","timestamp":""#));
    let timestamp = timestamp.and_then(|rest| rest.strip_suffix("\"}"));
    assert!(
        timestamp.is_some_and(is_timestamp),
        "waited for `{start},\"timestamp\":..}}`, but got `{text}`"
    );
}

#[tokio::test]
async fn chat_welcomes_and_echoes() {
    let server = Server::with(&["chat"]).start();
    let mut client = connect(server.url("/chat")).await;
    assert_eq!(client.recv_text().await, "Welcome to chat!");
    for text in ["hello", "", "ö {\"a\":1}"] {
        client.send(text).await;
        assert_eq!(client.recv_text().await, format!("Echo: {text}"));
    }
    server.log_line(&["Client connected: "]);
    client.close(1000, "").await;
    server.log_line(&["Client disconnected: "]);
}

#[tokio::test]
async fn echo_sends_back_what_it_gets() {
    let server = Server::with(&["echo"]).start();
    let mut client = connect(server.url("/echo")).await;
    client.send("text").await;
    assert_eq!(client.recv_text().await, "text");
    client.send_bytes([0, 255]).await;
    assert_eq!(client.recv_bytes().await, [0, 255]);
}

#[tokio::test]
async fn room_sends_to_everybody() {
    let server = Server::with(&["room"]).start();
    let mut first = connect(server.url("/room")).await;
    // A socket is in the room when its on-open has returned; its own message comes back after that.
    first.send("of the first").await;
    assert_eq!(first.recv_text().await, "of the first");
    let mut second = connect(server.url("/room")).await;
    second.send("of the second").await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.recv_text().await, "of the second");
    }
    first.send_bytes([1, 2]).await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.recv_bytes().await, [1, 2]);
    }
}

#[tokio::test]
async fn chat_errors_says_what_is_wrong_and_stays() {
    let server = Server::with(&["chat-errors"]).start();
    let mut client = connect(server.url("/chat-errors")).await;
    for (text, answer) in [
        (r#"{"type":"ping"}"#, r#"{"type":"pong"}"#),
        (
            "{}",
            r#"{"type":"error","message":"Message type is required"}"#,
        ),
        (
            r#"{"type":""}"#,
            r#"{"type":"error","message":"Message type is required"}"#,
        ),
        (
            r#"{"type":"dance"}"#,
            r#"{"type":"error","message":"Unknown message type: dance"}"#,
        ),
        (r#"{"type":"ping"}"#, r#"{"type":"pong"}"#),
    ] {
        client.send(text).await;
        assert_eq!(client.recv_text().await, answer);
    }
    client.send("{ no JSON").await;
    let answer = client.recv_json().await;
    assert_eq!(answer["type"], "error");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    client.send(r#"{"type":"ping"}"#).await;
    assert_eq!(client.recv_text().await, r#"{"type":"pong"}"#);
}

#[tokio::test]
async fn chat_info_counts_the_room() {
    let server = Server::with(&["chat-info"]).start();
    let mut clients = Vec::new();
    for total in 1..=3 {
        let mut client = connect(server.url("/chat-info")).await;
        client.send("how many?").await;
        assert_eq!(
            client.recv_text().await,
            format!(r#"{{"type":"room_info","totalUsers":{total}}}"#)
        );
        clients.push(client);
    }
}

#[tokio::test]
async fn chat_rooms_tells_who_joins_who_leaves_and_what_is_said() {
    let server = Server::with(&["chat-rooms", "ws-visitor"]).start();
    let mut anonymous = connect(server.url("/chat-rooms")).await;
    assert_eq!(
        anonymous.recv_text().await,
        r#"{"type":"welcome","message":"Welcome to general, Anonymous!"}"#
    );
    let mut elsewhere = connect(server.url("/chat-rooms?username=Eve&room=attic")).await;
    assert_eq!(
        elsewhere.recv_text().await,
        r#"{"type":"welcome","message":"Welcome to attic, Eve!"}"#
    );
    let mut ada = connect(server.url("/chat-rooms?username=Ada&room=general")).await;
    assert_eq!(
        ada.recv_text().await,
        r#"{"type":"welcome","message":"Welcome to general, Ada!"}"#
    );
    expect_with_timestamp(&mut anonymous, r#"{"type":"user_joined","username":"Ada""#).await;

    ada.send(r#"{"type":"message","message":"hello"}"#).await;
    expect_with_timestamp(
        &mut anonymous,
        r#"{"type":"message","username":"Ada","message":"hello""#,
    )
    .await;
    anonymous
        .send(r#"{"type":"message","message":"who is it?"}"#)
        .await;
    let reply = r#"{"type":"message","username":"Anonymous","message":"who is it?""#;
    expect_with_timestamp(&mut ada, reply).await;

    ada.send("no JSON").await;
    assert_eq!(
        ada.recv_text().await,
        r#"{"type":"error","message":"Invalid message format"}"#
    );
    ada.close(1000, "").await;
    assert_eq!(
        anonymous.recv_text().await,
        r#"{"type":"user_left","username":"Ada"}"#
    );
    elsewhere.send(r#"{"type":"whoami"}"#).await;
    assert_eq!(
        elsewhere.recv_json().await["type"],
        "whoami",
        "nothing of the other room came before"
    );
}

#[tokio::test]
async fn chat_rooms_whispers_to_one_socket() {
    let server = Server::with(&["chat-rooms", "ws-visitor"]).start();
    let mut ada = connect(server.url("/chat-rooms?username=Ada&room=a")).await;
    let mut bob = connect(server.url("/chat-rooms?username=Bob&room=b")).await;
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.recv_json().await["type"], "welcome");
    }
    bob.send(r#"{"type":"whoami"}"#).await;
    let id = bob.recv_json().await["id"]
        .as_str()
        .expect("a text")
        .to_owned();
    ada.send(format!(
        r#"{{"type":"private","to":"{id}","message":"psst"}}"#
    ))
    .await;
    assert_eq!(
        bob.recv_text().await,
        r#"{"type":"private_message","message":"psst"}"#
    );
    ada.send(r#"{"type":"private","to":"nobody","message":"psst"}"#)
        .await;
    assert_eq!(
        ada.recv_text().await,
        r#"{"type":"error","message":"Unknown socket"}"#
    );
}

#[tokio::test]
async fn private_greets_whom_the_middleware_knows() {
    let server = Server::with(&["private", "ws-auth"]).start();
    let mut client = connect(server.url("/private?token=valid-token")).await;
    assert_eq!(
        client.recv_text().await,
        r#"{"type":"authenticated","userId":"123","username":"john_doe"}"#
    );
    client.send("hello").await;
    server.log_line(&["Authenticated user connected: john_doe"]);
    server.log_line(&["Message from john_doe: hello"]);
}

/// Has `/admin` admit as many as it does in ten seconds, and asks for one more. Returns the answer; none when the ten
/// seconds were over before.
async fn one_too_many(server: &Server) -> Option<Response> {
    let begun = Instant::now();
    let welcome = concat!(
        r#"{"type":"admin-welcome","user":{"userId":"123","username":"john_doe"},"#,
        r#""permissions":["read","write","delete"]}"#
    );
    let by_header = Connect::to(server.url("/admin")).header("Authorization", "Bearer valid-token");
    assert_eq!(by_header.open().await.recv_text().await, welcome);
    for admitted in 2..=20 {
        let mut client = connect(server.url("/admin?token=valid-token")).await;
        assert_eq!(client.recv_text().await, welcome, "{admitted}");
    }
    let mut raw = Raw::connect(server.address()).await;
    raw.write(&Raw::upgrade_request("/admin?token=valid-token"))
        .await;
    let response = raw.response().await;
    if response.status == 101 {
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(10), "admitted after {taken:?}");
        return None;
    }
    Some(response)
}

#[tokio::test]
async fn admin_is_behind_three_middlewares() {
    let (server, response) = loop {
        let server = Server::with(&["admin", "ws-logging", "ws-auth", "ws-rate-limit"]).start();
        assert_eq!(get(server.address(), "/admin").await.status, 401);
        server.log_line(&["GET /admin from 127.0.0.1"]);
        // Requests without the token do not reach the limit; it is 20 of those with it, in ten seconds. A machine that is
        // held up for so long begins again.
        if let Some(response) = one_too_many(&server).await {
            break (server, response);
        }
    };
    assert_eq!(
        (response.status, response.text()),
        (429, r#"{"error":"Too Many Requests"}"#)
    );
    let wait: u32 = response
        .header("retry-after")
        .expect("it says when")
        .parse()
        .expect("in seconds");
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(
        Connect::to(server.url("/admin")).refused().await.status,
        401,
        "the token is asked for first"
    );
}

#[tokio::test]
async fn notifications_connects_and_answers_pings() {
    let server = Server::with(&["notifications", "ws-visitor"]).start();
    for query in ["", "?userId=7"] {
        let mut client = connect(server.url(&format!("/ws/notifications{query}"))).await;
        assert_eq!(
            client.recv_text().await,
            r#"{"type":"connected","message":"Connected to notification system"}"#
        );
        client.send("no JSON").await;
        client.send(r#"{"type":"other"}"#).await;
        client.send(r#"{"type":"ping"}"#).await;
        assert_eq!(client.recv_text().await, r#"{"type":"pong"}"#);
    }
    server.log_line(&["Invalid message format"]);
}

#[tokio::test]
async fn every_example_is_served_beside_the_others() {
    let names = std::fs::read_dir(tulpar_tests::workspace().join("plugins"))
        .expect("the folder of the examples");
    let names = names
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file());
    let names: Vec<_> = names
        .map(|entry| entry.file_name().into_string().expect("UTF-8"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert!(names.len() >= 10, "{names:?}");
    let server = Server::with(&names).start();
    assert_eq!(server.stdout.with("refused"), [""; 0]);
    for name in names {
        let file = format!("{name}.wasm");
        assert!(
            !server.stdout.with(&file).is_empty(),
            "{file} is not in the table"
        );
    }
}

/// Sends JSON to a controller and returns the status and the body.
async fn send(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = Request::new(method, path).body(body);
    let response = request.send(server.address()).await;
    (response.status, response.text().to_owned())
}

/// What was sent to the client has arrived, and was received: the answer to a ping comes next.
async fn nothing_more(client: &mut Client) {
    client.send_ping(b"?").await;
    assert_eq!(client.recv().await, Some(Message::Pong("?".into())));
}

fn success() -> (u16, String) {
    (200, r#"{"success":true}"#.to_owned())
}

/// A socket of the notification system, which has said its welcome.
async fn notified(server: &Server, user: &str) -> Client {
    let url = server.url(&format!("/ws/notifications?userId={user}"));
    let mut client = connect(url).await;
    let welcome = r#"{"type":"connected","message":"Connected to notification system"}"#;
    assert_eq!(client.recv_text().await, welcome);
    client
}

#[tokio::test]
async fn s1_an_announcement_over_http_reaches_the_sockets() {
    let server = Server::with(&["announcements", "notifications", "ws-visitor", "admin"]).start();
    let mut clients = [notified(&server, "7").await, notified(&server, "8").await];
    let announced = send(
        &server,
        "POST",
        "/admin/announcement",
        r#"{"message":"Hello"}"#,
    )
    .await;
    assert_eq!(announced, success());
    for client in &mut clients {
        expect_with_timestamp(client, r#"{"type":"announcement","message":"Hello""#).await;
        nothing_more(client).await;
    }
    for (body, reason) in [("", "EOF"), ("{}", "missing field `message`"), ("[", "EOF")] {
        let (status, text) = send(&server, "POST", "/admin/announcement", body).await;
        assert!(
            status == 400 && text.contains(reason),
            "{body}: {status} {text}"
        );
    }
    assert_eq!(
        get(server.address(), "/admin/announcement").await.status,
        405
    );
}

#[tokio::test]
async fn s1_the_user_service_notifies_by_both_systems() {
    let examples = ["users", "notifications", "user-notifications", "ws-visitor"];
    let server = Server::with(&examples).start();
    let mut seven = notified(&server, "7").await;
    let mut eight = notified(&server, "8").await;
    let mut one = connect(server.url("/notifications?userId=1")).await;
    let mut anybody = connect(server.url("/notifications")).await;
    for client in [&mut one, &mut anybody] {
        assert_eq!(client.recv_text().await, r#"{"type":"connected"}"#);
    }

    let ada = r#"{"name":"Ada","email":"ada@example.com"}"#;
    let user = r#"{"id":"1","name":"Ada","email":"ada@example.com"}"#;
    let created = send(&server, "POST", "/users", ada).await;
    assert_eq!(created, (201, user.to_owned()));
    for client in [&mut one, &mut anybody] {
        let event = format!(r#"{{"type":"user_created","user":{user}}}"#);
        assert_eq!(client.recv_text().await, event);
    }
    assert_eq!(get(server.address(), "/users/1").await.text(), user);
    let missing = get(server.address(), "/users/2").await;
    let unknown = r#"{"error":"There is no such user"}"#;
    assert_eq!((missing.status, missing.text()), (404, unknown));

    let notified = send(&server, "POST", "/users/1/notify", r#"{"message":"psst"}"#).await;
    assert_eq!(notified, success());
    let event = r#"{"type":"notification","message":"psst"}"#;
    assert_eq!(one.recv_text().await, event);

    let updated = send(&server, "PUT", "/users/7/profile", ada).await;
    assert_eq!(updated, success());
    let event = r#"{"type":"profile_updated","message":"Your profile has been updated""#;
    expect_with_timestamp(&mut seven, event).await;

    let announced = send(
        &server,
        "POST",
        "/users/announcement",
        r#"{"message":"all"}"#,
    )
    .await;
    assert_eq!(announced, success());
    for client in [&mut seven, &mut eight] {
        expect_with_timestamp(client, r#"{"type":"announcement","message":"all""#).await;
    }
    for client in [&mut seven, &mut eight, &mut one, &mut anybody] {
        nothing_more(client).await;
    }
}

#[tokio::test]
async fn s1_the_notification_service_sends_from_outside_of_the_namespace() {
    let examples = ["notification-service", "chat-rooms", "ws-visitor"];
    let server = Server::with(&examples).start();
    server.log_line(&["ready to notify", "notification-service.wasm"]);
    let mut lobby = connect(server.url("/chat-rooms?username=ada&room=lobby")).await;
    let mut other = connect(server.url("/chat-rooms?username=bob&room=other")).await;
    for client in [&mut lobby, &mut other] {
        client.recv_text().await;
    }
    let told = r#"{"message":"Maintenance at noon"}"#;
    assert_eq!(
        send(&server, "POST", "/notify/rooms/lobby", told).await,
        success()
    );
    let event = r#"{"type":"system_message","message":"Maintenance at noon""#;
    expect_with_timestamp(&mut lobby, event).await;
    assert_eq!(send(&server, "POST", "/notify", told).await, success());
    for client in [&mut lobby, &mut other] {
        let event = r#"{"type":"notification","message":"Maintenance at noon"}"#;
        assert_eq!(client.recv_text().await, event);
        nothing_more(client).await;
    }
}
