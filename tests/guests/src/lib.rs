//! What more than one guest needs: the commands that a namespace obeys, and the blank for a descriptor. And how bytes
//! are read as calls of the host.

pub mod commands;
pub mod mould;
pub mod program;
pub mod reach;

pub use serde_json::Value;
