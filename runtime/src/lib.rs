//! Tulpar: a WebSocket application server whose handlers are sandboxed WebAssembly components.
//!
//! The way of a message leads through the modules in this order: [`net`] accepts and upgrades what comes by a
//! [`transport`], [`middleware`] decides, [`connection`] reads frames and puts messages together, [`namespace`] hands them to the instance of a [`plugin`],
//! whose host functions address sockets and rooms in the [`hub`] by way of the [`backplane`]; the hub queues frames in
//! outboxes, which the [`connection`] writes. What comes from elsewhere, a request to a [`controller`] or the time for a
//! [`service`] to work, reaches the same sockets through [`ulak`]. [`app`] puts the parts together, [`cli`] starts them.
//! `ARCHITECTURE.md` tells more.

pub mod admin;
pub mod app;
pub mod backplane;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod controller;
pub mod deflate;
pub mod hub;
pub mod ids;
pub mod message;
pub mod metrics;
pub mod middleware;
pub mod namespace;
pub mod nats;
pub mod net;
pub mod plugin;
pub mod quota;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod ulak;
