//! Who gets in, and who does not. A middleware needs something behind it: here the plugin `private`.

use tulpar_test::{Request, Server, Value, json};

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../private")
        .start()
}

#[test]
fn whoever_brings_the_token_gets_in_with_the_values_of_its_user() {
    let server = server();
    let by_header = Request::get("/private").with_header("authorization", "Bearer valid-token");
    for request in [Request::get("/private?token=valid-token"), by_header] {
        let ada = server.open(request);
        let user = json!({ "userId": "123", "username": "john_doe" });
        assert_eq!(ada.values(), user);
    }
}

#[test]
fn nobody_else_gets_in() {
    let server = server();
    for (path, error) in [
        ("/private", "Unauthorized"),
        ("/private?token=", "Unauthorized"),
        ("/private?token=guessed", "Invalid token"),
    ] {
        let refused = server.connect(path).err().expect("it is refused");
        assert_eq!(refused.status(), 401, "{path}");
        assert_eq!(refused.json::<Value>(), json!({ "error": error }));
    }
    assert_eq!(server.sockets("/private"), [""; 0]);
}
