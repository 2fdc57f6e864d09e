//! Who is told what: the controller `announcements` and the plugin `users` send to these rooms.

use tulpar_test::{Request, Server, json};

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../ws-visitor")
        .crate_in("../announcements")
        .crate_in("../users")
        .start()
}

#[test]
fn a_user_is_in_a_room_of_their_own_and_in_that_of_everybody() {
    let server = server();
    let (ada, anonymous) = (
        server.open("/ws/notifications?userId=7"),
        server.open("/ws/notifications"),
    );
    assert_eq!(ada.rooms(), ["announcements", "user:7"]);
    assert_eq!(anonymous.rooms(), ["announcements"]);
    ada.send(json!({ "type": "ping" }));
    ada.send("no JSON");
    let connected = json!({ "type": "connected", "message": "Connected to notification system" });
    assert_eq!(ada.received(), [connected, json!({ "type": "pong" })]);
    assert_eq!(server.logs(), ["Invalid message format"]);
}

#[test]
fn announcements_reach_everybody_and_news_of_a_user_that_user() {
    let server = server();
    let (ada, anonymous) = (
        server.open("/ws/notifications?userId=7"),
        server.open("/ws/notifications"),
    );
    let announcement = Request::post("/admin/announcement");
    let response = server.request(announcement.with_json(json!({ "message": "Tea is ready" })));
    assert_eq!(
        response.json::<tulpar_test::Value>(),
        json!({ "success": true })
    );
    let profile = json!({ "name": "Ada", "email": "ada@example.com" });
    let response = server.request(Request::put("/users/7/profile").with_json(profile));
    assert_eq!(response.status(), 200);
    let kinds = |client: &tulpar_test::Client| -> Vec<_> {
        let received = client.received().into_iter();
        received
            .map(|it| it.json::<tulpar_test::Value>()["type"].clone())
            .collect()
    };
    assert_eq!(
        kinds(&ada),
        ["connected", "announcement", "profile_updated"]
    );
    assert_eq!(kinds(&anonymous), ["connected", "announcement"]);
}
