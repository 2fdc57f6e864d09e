//! What comes back.

use tulpar_test::{Message, Server};

#[test]
fn what_is_sent_comes_back_as_it_was() {
    let server = Server::of_this_crate();
    let ada = server.open("/echo");
    let large = vec![7; 1 << 20];
    let sent = [Message::from("text"), Message::from(""), large.into()];
    for message in &sent {
        ada.send(message.clone());
    }
    assert_eq!(ada.received(), sent);
}
