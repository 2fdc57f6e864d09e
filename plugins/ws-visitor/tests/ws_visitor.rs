//! What visitors say of themselves.

use tulpar_test::{Server, json};

#[test]
fn what_is_said_becomes_the_values_of_the_socket() {
    let server = Server::builder()
        .this_crate()
        .crate_in("../chat-rooms")
        .start();
    let ada = server.open("/chat-rooms?userId=7&username=Ada%20L%0A&unknown=1");
    assert_eq!(ada.values(), json!({ "userId": "7", "username": "Ada L" }));
    let nobody = server.open("/chat-rooms");
    assert_eq!(nobody.values(), json!(null));
}
