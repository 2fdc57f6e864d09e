//! Who hears what is said.

use tulpar_test::Server;

#[test]
fn everybody_hears_it() {
    let server = Server::of_this_crate();
    let (ada, bob) = (server.open("/room"), server.open("/room"));
    ada.send("hi");
    bob.close(1000, "");
    ada.send("is anybody there?");
    assert_eq!(bob.received(), ["hi"]);
    assert_eq!(ada.received(), ["hi", "is anybody there?"]);
}
