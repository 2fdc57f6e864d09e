//! What is of no use to whoever begins with the template, and has to hold all the same.

use tulpar_test::{Request, Server, json};

#[test]
fn a_name_that_no_note_can_have_is_the_clients_mistake() {
    let server = Server::of_this_crate();
    for (length, put, got) in [(256, 204, 200), (257, 404, 404)] {
        let path = format!("/crate-name/{}", "n".repeat(length));
        let note = Request::put(&path).with_json(json!({ "text": "two litres" }));
        assert_eq!(server.request(note).status(), put);
        assert_eq!(server.request(path.as_str()).status(), got);
    }
    let said = server.server_logs();
    assert!(said.iter().all(|line| line.level != "error"), "{said:?}");
}
