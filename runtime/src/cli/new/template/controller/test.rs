//! What it answers.

use tulpar_test::{Request, Server, Value, json};

#[test]
fn a_note_is_kept() {
    let server = Server::of_this_crate();
    assert_eq!(server.request("/crate-name/milk").status(), 404);
    let note = json!({ "text": "two litres" });
    let put = Request::put("/crate-name/milk").with_json(note.clone());
    assert_eq!(server.request(put).status(), 204);
    assert_eq!(server.request("/crate-name/milk").json::<Value>(), note);
    let other = Request::put("/crate-name/milk").with_json(json!({ "litres": 2 }));
    assert_eq!(server.request(other).status(), 422);
}
