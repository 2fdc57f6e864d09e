//! Whoever gets in is told who they are. The plugin does not serve without its middleware, so that is there too.

use tulpar_test::{Server, json};

#[test]
fn whoever_gets_in_is_told_who_they_are() {
    let server = Server::builder()
        .this_crate()
        .crate_in("../ws-auth")
        .start();
    let ada = server.open("/private?token=valid-token");
    ada.send("hello");
    let user = json!({ "type": "authenticated", "userId": "123", "username": "john_doe" });
    assert_eq!(ada.received(), [user]);
    assert_eq!(
        server.logs(),
        [
            "Authenticated user connected: john_doe",
            "Message from john_doe: hello",
        ]
    );
    assert!(server.connect("/private").is_err());
}
