//! Which rooms users are in, to which others send.

use tulpar_test::{Server, json};

#[test]
fn a_user_is_in_a_room_of_their_own() {
    let server = Server::builder()
        .this_crate()
        .crate_in("../ws-visitor")
        .start();
    let ada = server.open("/notifications?userId=7");
    assert_eq!(ada.received(), [json!({ "type": "connected" })]);
    assert_eq!(ada.rooms(), ["user:7"]);
    let nameless = server.open("/notifications?username=Bob");
    assert_eq!(nameless.rooms(), [""; 0]);
}
