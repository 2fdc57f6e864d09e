//! What a POST comes to.

use tulpar_test::{Request, Server, Value, json};

#[test]
fn an_announcement_needs_somebody_to_send_it_to() {
    let server = Server::of_this_crate();
    let announce = || {
        let request = Request::post("/admin/announcement");
        server.request(request.with_json(json!({ "message": "hello" })))
    };
    // The namespace is another plugin's, which is not there.
    assert_eq!(announce().status(), 500);

    let server = Server::builder()
        .this_crate()
        .crate_in("../notifications")
        .crate_in("../ws-visitor")
        .start();
    let request = Request::post("/admin/announcement").with_json(json!({ "message": "hello" }));
    let response = server.request(request);
    assert_eq!(response.json::<Value>(), json!({ "success": true }));
    let published = server.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].path, "/ws/notifications");
    assert_eq!(published[0].room.as_deref(), Some("announcements"));
    assert_eq!(published[0].message.json::<Value>()["message"], "hello");
}
