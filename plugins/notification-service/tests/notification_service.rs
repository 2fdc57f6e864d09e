//! A service that sends at each full hour, and when it is asked to.

use std::time::Duration;

use tulpar_test::{Request, Server, json};

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../chat-rooms")
        .crate_in("../ws-visitor")
        .time("2026-07-31T21:58:30Z")
        .start()
}

#[test]
fn everybody_hears_of_each_full_hour() {
    let server = server();
    assert_eq!(server.logs(), ["ready to notify"]);
    let ada = server.open("/chat-rooms");
    _ = ada.received();
    server.advance(Duration::from_secs(89));
    assert_eq!(ada.received(), [""; 0]);
    server.advance(Duration::from_secs(1));
    let told = |time: &str| json!({ "type": "notification", "message": format!("It is {time}") });
    assert_eq!(ada.received(), [told("2026-07-31T22:00:00.000Z")]);
    server.advance(Duration::from_secs(2 * 3600));
    assert_eq!(
        ada.received(),
        [
            told("2026-07-31T23:00:00.000Z"),
            told("2026-08-01T00:00:00.000Z")
        ]
    );
}

#[test]
fn it_can_be_told_to_without_waiting_for_the_hour() {
    let server = server();
    let ada = server.open("/chat-rooms");
    _ = ada.received();
    server.run("NotificationService", "full_hour").unwrap();
    let told = json!({ "type": "notification", "message": "It is 2026-07-31T21:58:30.000Z" });
    assert_eq!(ada.received(), [told]);
}

#[test]
fn a_request_reaches_one_room_or_all() {
    let server = server();
    let ada = server.open("/chat-rooms?room=attic");
    let bob = server.open("/chat-rooms");
    for client in [&ada, &bob] {
        _ = client.received();
    }
    for path in ["/notify/rooms/attic", "/notify/"] {
        let request = Request::post(path).with_json(json!({ "message": "hello" }));
        assert_eq!(server.request(request).status(), 200, "{path}");
    }
    let everybody = json!({ "type": "notification", "message": "hello" });
    assert_eq!(bob.next(), everybody);
    assert_eq!(ada.received().len(), 2);
    let published = server.published();
    assert_eq!(
        published.last().map(|it| &it.message),
        Some(&everybody.into())
    );
    assert_eq!(server.request(Request::post("/notify/")).status(), 400);
}

#[test]
fn a_name_that_no_room_can_have_is_the_clients_mistake() {
    let server = server();
    for room in ["a%0Ab", &"r".repeat(257)] {
        let request = Request::post(&format!("/notify/rooms/{room}"));
        let request = request.with_json(json!({ "message": "hello" }));
        assert_eq!(server.request(request).status(), 400, "{room}");
    }
    assert!(
        server
            .server_logs()
            .iter()
            .all(|line| line.level != "error")
    );
}
