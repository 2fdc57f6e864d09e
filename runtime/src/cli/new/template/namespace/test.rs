//! What happens at /crate-name.

use tulpar_test::{Server, json};

#[test]
fn what_one_says_everybody_hears() {
    let server = Server::of_this_crate();
    let ada = server.open("/crate-name");
    let bob = server.open("/crate-name");
    assert_eq!(ada.next(), json!({ "type": "welcome", "number": 1 }));
    assert_eq!(bob.next(), json!({ "type": "welcome", "number": 2 }));
    ada.send("good morning");
    assert_eq!(ada.received(), ["You said: good morning"]);
    assert_eq!(
        bob.next(),
        json!({ "type": "said", "text": "good morning" })
    );
    ada.close(1000, "");
    assert_eq!(bob.next(), json!({ "type": "left", "code": 1000 }));
}
