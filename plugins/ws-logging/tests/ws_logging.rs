//! What is logged, and what is not. A middleware needs something behind it: here the plugin `admin` with its others.

use tulpar_test::{Request, Server};

#[test]
fn each_request_is_logged_without_its_query() {
    let server = Server::builder()
        .this_crate()
        .crate_in("../admin")
        .crate_in("../ws-auth")
        .crate_in("../ws-rate-limit")
        .start();
    _ = server.open("/admin?token=valid-token");
    let refused = server.connect(Request::get("/admin").from_address([203, 0, 113, 7]));
    assert!(refused.is_err());
    let logs = server.logs();
    assert_eq!(
        logs,
        ["GET /admin from 192.0.2.1", "GET /admin from 203.0.113.7"]
    );
    assert!(logs.iter().all(|line| line.level == "info"));
}
