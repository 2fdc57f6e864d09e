//! What the smallest chat does.

use tulpar_test::Server;

#[test]
fn whoever_connects_is_welcomed_and_hears_an_echo() {
    let server = Server::of_this_crate();
    let ada = server.open("/chat");
    ada.send("hi");
    ada.send(b"\x01\x02");
    let received = ada.received();
    assert_eq!(received[..2], ["Welcome to chat!", "Echo: hi"]);
    assert_eq!(received[2..], [[1, 2].as_slice()]);
}

#[test]
fn coming_and_going_is_logged() {
    let server = Server::of_this_crate();
    let ada = server.open("/chat");
    let id = ada.id();
    assert_eq!(server.logs(), [format!("Client connected: {id}")]);
    ada.close(1000, "bye");
    assert_eq!(server.logs(), [format!("Client disconnected: {id}")]);
    assert_eq!(ada.closed(), None);
    assert_eq!(server.sockets("/chat"), [""; 0]);
}
