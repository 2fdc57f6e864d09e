//! A namespace behind two middlewares that do what a request tells them to.

use crate::client::{Connect, Value, json};
use crate::guests::Mould;
use crate::raw::Response;
use crate::server::Server;

/// What the server says of a middleware that has failed.
const FAILED: &str = r#"{"error":"Internal Server Error"}"#;

/// A server whose `/gated` is behind the gates `first` and `second`, each obeying the header of its name. What
/// `/gated` echoes shows that it is open; `read:` shows its values.
pub fn gated() -> Server {
    let namespace = Mould::namespace("/gated").set("middlewares", json!(["first", "second"]));
    Server::with(&[])
        .file("first.wasm", &Mould::middleware("first").bytes())
        .file("second.wasm", &Mould::middleware("second").bytes())
        .file("gated.wasm", &namespace.bytes())
        .config("[limits]\ndeadline-ms = 500\nrequest-head-bytes = 65536")
        .start()
}

/// A request to that, with what each gate is to do.
pub fn through(server: &Server, first: Value, second: Value) -> Connect {
    let connect = Connect::to(server.url("/gated"));
    connect
        .header("x-first", first.to_string())
        .header("x-second", second.to_string())
}

/// What came of all that a gate was to do.
pub fn outcomes(response: &Response, gate: &str) -> Value {
    let header = response
        .header(&format!("x-{gate}-outcomes"))
        .expect("the gate has reported");
    serde_json::from_str(header).expect("it reports in JSON")
}

/// Shows that a middleware has failed, and that nobody is told why.
pub fn expect_failed(response: &Response, what: &Value) {
    assert_eq!((response.status, response.text()), (500, FAILED), "{what}");
    assert_eq!(
        response.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    let leaks = response
        .headers
        .iter()
        .any(|(_, value)| value.contains("secret"));
    assert!(!leaks, "{what}: {response:?}");
}
