//! Three middlewares before one namespace.

use tulpar_test::{Server, json};

#[test]
fn each_middleware_has_its_say_in_the_order_of_the_list() {
    let server = Server::builder()
        .this_crate()
        .crate_in("../ws-logging")
        .crate_in("../ws-auth")
        .crate_in("../ws-rate-limit")
        .start();
    let ada = server.open("/admin?token=valid-token");
    let welcome = json!({
        "type": "admin-welcome",
        "user": { "userId": "123", "username": "john_doe" },
        "permissions": ["read", "write", "delete"],
    });
    assert_eq!(ada.received(), [welcome]);
    // Who has no token is logged, and does not reach the limit.
    for _ in 0..20 {
        assert_eq!(
            server.connect("/admin").err().map(|it| it.status()),
            Some(401)
        );
    }
    let logs = server.logs();
    assert_eq!(logs.len(), 21);
    assert!(logs.iter().all(|line| line == "GET /admin from 192.0.2.1"));
    let status = |path: &str| server.connect(path).err().map(|it| it.status());
    for _ in 1..20 {
        assert_eq!(status("/admin?token=valid-token"), None);
    }
    assert_eq!(status("/admin?token=valid-token"), Some(429));
    assert_eq!(status("/admin"), Some(401));
}
