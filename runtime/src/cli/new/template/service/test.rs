//! What is done when.

use std::time::Duration;

use tulpar_test::Server;

#[test]
fn the_minutes_are_counted() {
    let server = Server::of_this_crate();
    assert_eq!(server.logs(), ["crate-name starts"]);
    server.advance(Duration::from_secs(121));
    assert_eq!(server.logs(), ["minute 1", "minute 2"]);
    server.stop();
    assert_eq!(server.logs(), ["crate-name stops"]);
}
