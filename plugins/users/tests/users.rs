//! Users, kept in the store and told of what happens to them.

use tulpar_test::{Request, Response, Server, Value, json};

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../user-notifications")
        .crate_in("../notifications")
        .crate_in("../ws-visitor")
        .start()
}

fn create(server: &Server, name: &str) -> Response {
    let user = json!({ "name": name, "email": "somebody@example.com" });
    server.request(Request::post("/users/").with_json(user))
}

#[test]
fn a_user_is_kept_and_everybody_hears_of_it() {
    let server = server();
    let ada = server.open("/notifications?userId=1");
    let created = create(&server, "Ada");
    assert_eq!(created.status(), 201);
    let user = json!({ "id": "1", "name": "Ada", "email": "somebody@example.com" });
    assert_eq!(created.json::<Value>(), user);
    assert_eq!(server.request("/users/1").json::<Value>(), user);
    assert_eq!(server.request("/users/2").status(), 404);
    assert_eq!(
        ada.received(),
        [
            json!({ "type": "connected" }),
            json!({ "type": "user_created", "user": user })
        ]
    );
}

#[test]
fn an_id_that_nobody_can_have_is_not_found() {
    let server = server();
    let ada = json!({ "name": "Ada", "email": "somebody@example.com" });
    for id in ["ada", "1%0A", &"7".repeat(257)] {
        let requests = [
            Request::get(&format!("/users/{id}")),
            Request::put(&format!("/users/{id}/profile")).with_json(ada.clone()),
            Request::post(&format!("/users/{id}/notify")).with_json(json!({ "message": "hello" })),
        ];
        for request in requests {
            let response = server.request(request);
            assert_eq!(response.status(), 404, "{id}");
            let told = json!({ "error": "There is no such user" });
            assert_eq!(response.json::<Value>(), told);
        }
    }
    assert!(
        server
            .server_logs()
            .iter()
            .all(|line| line.level != "error")
    );
}

#[test]
fn what_is_kept_survives_a_new_version() {
    let server = server();
    create(&server, "Ada");
    server.reload("users").unwrap();
    assert_eq!(server.request("/users/1").json::<Value>()["name"], "Ada");
}

#[test]
fn a_notification_is_for_one_user() {
    let server = server();
    let (ada, bob) = (
        server.open("/notifications?userId=1"),
        server.open("/notifications?userId=2"),
    );
    let request = Request::post("/users/1/notify").with_json(json!({ "message": "hello" }));
    assert_eq!(server.request(request).status(), 200);
    assert_eq!(bob.received(), [json!({ "type": "connected" })]);
    assert_eq!(
        ada.received(),
        [
            json!({ "type": "connected" }),
            json!({ "type": "notification", "message": "hello" })
        ]
    );
}
