//! Who is let in.

use tulpar_test::{Server, json};

#[test]
fn who_brings_the_token_is_let_in() {
    let server = Server::builder()
        .this_crate()
        .example_in("", "cave")
        .start();
    let ali = server.open("/cave?token=open-sesame");
    assert_eq!(ali.next(), json!({ "name": "Ali Baba" }));
    for path in ["/cave", "/cave?token=open-barley"] {
        let refused = server.connect(path).err().expect("it is refused");
        assert_eq!(refused.status(), 401);
    }
}
