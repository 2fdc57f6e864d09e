//! A conversation in rooms. The plugin does not serve without its middleware, so that is there too.

use tulpar_test::{Server, json};

/// What every test begins at.
const NOW: &str = "2026-01-01T00:00:00.000Z";

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../ws-visitor")
        .start()
}

#[test]
fn members_hear_who_comes_what_is_said_and_who_goes() {
    let server = server();
    let ada = server.open("/chat-rooms?username=Ada&room=attic");
    let bob = server.open("/chat-rooms?username=Bob&room=attic");
    let eve = server.open("/chat-rooms");
    bob.send(json!({ "type": "message", "message": "hello" }));
    bob.close(1000, "");
    assert_eq!(
        ada.received(),
        [
            json!({ "type": "welcome", "message": "Welcome to attic, Ada!" }),
            json!({ "type": "user_joined", "username": "Bob", "timestamp": NOW }),
            json!({ "type": "message", "username": "Bob", "message": "hello", "timestamp": NOW }),
            json!({ "type": "user_left", "username": "Bob" }),
        ]
    );
    assert_eq!(
        eve.received(),
        [json!({ "type": "welcome", "message": "Welcome to general, Anonymous!" })]
    );
}

#[test]
fn a_visitor_is_in_the_room_of_its_choice_and_goes_with_its_connection() {
    let server = server();
    let ada = server.open("/chat-rooms?username=Ada&room=attic");
    assert_eq!(ada.rooms(), ["attic"]);
    assert_eq!(ada.values(), json!({ "username": "Ada", "room": "attic" }));
    assert_eq!(server.members("/chat-rooms", "attic"), [ada.id()]);
    ada.break_off();
    assert_eq!(server.rooms("/chat-rooms"), [""; 0]);
}

#[test]
fn a_whisper_is_for_one_alone() {
    let server = server();
    let ada = server.open("/chat-rooms?username=Ada");
    let bob = server.open("/chat-rooms?username=Bob");
    let eve = server.open("/chat-rooms?username=Eve");
    for client in [&ada, &bob, &eve] {
        _ = client.received();
    }
    ada.send(json!({ "type": "private", "to": bob.id(), "message": "psst" }));
    ada.send(json!({ "type": "private", "to": "nobody", "message": "psst" }));
    assert_eq!(
        bob.received(),
        [json!({ "type": "private_message", "message": "psst" })]
    );
    assert_eq!(
        ada.received(),
        [json!({ "type": "error", "message": "Unknown socket" })]
    );
    assert_eq!(eve.received(), [""; 0]);
}
