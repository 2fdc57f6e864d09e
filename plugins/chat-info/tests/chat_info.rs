//! How many are in the room.

use tulpar_test::{Server, json};

#[test]
fn those_who_are_there_are_counted() {
    let server = Server::of_this_crate();
    let ada = server.open("/chat-info");
    let how_many = || {
        ada.send("how many?");
        ada.next()
    };
    assert_eq!(how_many(), json!({ "type": "room_info", "totalUsers": 1 }));
    let bob = server.open("/chat-info");
    assert_eq!(how_many(), json!({ "type": "room_info", "totalUsers": 2 }));
    bob.break_off();
    assert_eq!(how_many(), json!({ "type": "room_info", "totalUsers": 1 }));
}
