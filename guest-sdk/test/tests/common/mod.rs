//! Plugins that do as they are told, of the workspace's own test guests.
#![allow(dead_code, reason = "each test uses a part of it")]

use tulpar_test::{Builder, Client, Server, Value, json};

/// Where the guests are.
pub const GUESTS: &str = "../../tests/guests";

/// With the namespace `/commander`, which obeys its clients.
pub fn commander() -> Builder {
    Server::builder().example_in(GUESTS, "commander")
}

/// What comes of a command that the commander's client sends.
pub fn told(client: &Client, command: Value) -> Value {
    client.send(command);
    client.next().json::<Value>()["answer"].clone()
}

/// Has a handler end badly.
pub fn panic() -> Value {
    json!({ "do": "panic", "text": "told to" })
}
