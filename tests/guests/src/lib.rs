//! What more than one guest needs: the commands that a namespace obeys, and the blank for a descriptor.

pub mod commands;
pub mod mould;
pub mod reach;

pub use serde_json::Value;
