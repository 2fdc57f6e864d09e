//! Tests for plugins of the [Tulpar](https://docs.rs/tulpar) server.
//!
//! A [`Server`] runs in the test itself: the real one, with the plugins as built components in it. A test connects to it,
//! sends, closes, and looks at what the plugin did. There is no network, no port and no waiting: when
//! [`Client::send`] returns, the handler has run, and everything that it sent can be read. Time stands still until the
//! test lets it pass, by [`Server::advance`].
//!
//! In `tests/` of a plugin's crate, which has `tulpar-test` among its `[dev-dependencies]`:
//!
//! ```no_run
//! use tulpar_test::Server;
//!
//! #[test]
//! # fn hidden() {}
//! fn what_is_said_comes_back() {
//!     let server = Server::of_this_crate();
//!     let ada = server.open("/chat");
//!     ada.send("hi");
//!     assert_eq!(ada.received(), ["Welcome to chat!", "Echo: hi"]);
//! }
//! # what_is_said_comes_back();
//! ```
//!
//! What is tested is what will be served: the component, in its sandbox, with the limits, the rooms, the middlewares, the
//! broker and the store of the server. Several servers can run side by side, each in a test of its own.

mod builder;
mod client;
mod clock;
mod compile;
mod hosts;
mod http;
mod idle;
mod link;
mod log;
mod message;
mod published;
mod server;
mod world;

pub use builder::{Builder, StartError};
pub use client::Client;
pub use http::{Request, Response};
pub use log::LogLine;
pub use message::Message;
pub use published::Published;
pub use serde_json::{Value, json};
pub use server::Server;

/// The listings of the guide, compiled with the other examples.
#[cfg(doctest)]
mod listings {
    #[doc = include_str!("../../../docs/testing.md")]
    struct Guide;
    #[doc = include_str!("../README.md")]
    struct Readme;
}
