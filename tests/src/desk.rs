//! The guest `desk`, a controller that calls the host as it is told.

use crate::client::Value;
use crate::http::Request;
use crate::server::Server;

/// What the `desk` at that path answers when it is told to make that call.
pub async fn call(server: &Server, desk: &str, call: Value) -> Value {
    let request = Request::post(&format!("{desk}/obey"), call.to_string());
    let response = request.send(server.address()).await;
    assert_eq!(response.status, 200, "{call}: {response:?}");
    serde_json::from_slice(&response.body).expect("it is JSON")
}
