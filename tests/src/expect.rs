//! What several suites expect in the same words.

use crate::client::{Client, Connect, connect, json};
use crate::eventually;
use crate::raw::Response;
use crate::server::Server;

/// The path is served by something that echoes.
pub async fn expect_echo(server: &Server, path: &str) {
    let mut client = connect(server.url(path)).await;
    client.send("anybody?").await;
    assert_eq!(client.recv_text().await, "anybody?", "{path}");
}

/// Nothing is served at the path.
pub async fn expect_not_served(server: &Server, path: &str) {
    let response = Connect::to(server.url(path)).refused().await;
    assert_eq!(response.status, 404, "{path}");
}

/// Waits until an upgrade of the path is answered with 101.
pub async fn become_served(server: &Server, path: &str) {
    let what = format!("{path} to be served");
    eventually(&what, async || {
        Connect::to(server.url(path)).attempt().await.ok()
    })
    .await;
}

/// The peer of a failed handler is told that something failed but not what, and is closed.
pub async fn expect_handler_error(client: &mut Client) {
    let text = client.recv_text().await;
    let start = r#"{"type":"error","message":"Server error occurred","timestamp":""#;
    let timestamp = text
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix("\"}"));
    assert!(timestamp.is_some_and(is_timestamp), "{text}");
    assert_eq!(
        client.expect_close().await,
        (1011, "Handler error".to_owned())
    );
}

/// Whether a text has the form of `2026-01-31T12:34:56.789Z`.
pub fn is_timestamp(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text.bytes()
        .map(shape)
        .eq("0000-00-00T00:00:00.000Z".bytes())
}

/// The host's own answer.
pub fn expect_error(response: &Response, status: u16, reason: &str) {
    let body = json!({ "error": reason }).to_string();
    assert_eq!((response.status, response.text()), (status, body.as_str()));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

/// An answer with this text.
pub fn expect_text(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.text()), (status, text));
}
