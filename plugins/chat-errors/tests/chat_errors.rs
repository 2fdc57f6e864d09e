//! What comes of mistakes.

use tulpar_test::{Server, json};

#[test]
fn a_mistake_is_answered_and_the_connection_stays_open() {
    let server = Server::of_this_crate();
    let ada = server.open("/chat-errors");
    ada.send(json!({ "type": "dance" }));
    ada.send(json!({ "type": "ping" }));
    assert_eq!(
        ada.received(),
        [
            json!({ "type": "error", "message": "Unknown message type: dance" }),
            json!({ "type": "pong" }),
        ]
    );
    ada.send("no JSON");
    assert_eq!(ada.next().json::<tulpar_test::Value>()["type"], "error");
    assert!(ada.is_open());
}
