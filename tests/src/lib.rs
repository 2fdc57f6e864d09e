//! What the suites share: a server as a child process, WebSocket clients, raw bytes, and plugins as files.
//!
//! The suites see what anybody outside sees. Nothing here depends on the server's own crates.
//! Nothing sleeps to be in step with the server: a test waits for what it expects, with an end to its patience,
//! and that nothing more arrives is shown by a marker that is sent afterwards and arrives first.

mod client;
mod cluster;
mod command;
mod commander;
mod credentials;
mod deflating;
mod desk;
mod expect;
mod gated;
mod guests;
mod http;
mod lines;
mod nats;
mod nats_client;
mod neighbour;
mod operator;
mod raw;
mod server;
mod small_disk;
pub mod swap;
mod talk;
mod tls;
mod wire;

pub use client::{Client, CloseFrame, Connect, Message, Value, connect, json};
pub use cluster::{Cluster, Nodes, connected, hear_each_other, knows, lost};
pub use command::{Outcome, Running, lock_crate, outcome, succeed, tulpar};
pub use commander::{next_event, observer, scripted};
pub use credentials::Credentials;
pub use deflating::{DEFLATE, Deflating, RSV1, Received, compressing, deflated, letters, offering};
pub use desk::call;
pub use expect::{
    become_served, expect_echo, expect_error, expect_handler_error, expect_not_served, expect_text,
    is_timestamp,
};
pub use gated::{expect_failed, gated, outcomes, through};
pub use guests::{Mould, guest, guest_path};
pub use http::{BrokenOff, Request, ask, chunk};
pub use lines::Lines;
pub use nats::{Nats, three_nats, with_tls};
pub use nats_client::{NatsClient, Published};
pub use neighbour::while_a_neighbour_chats;
pub use operator::Operator;
pub use raw::{Frame, Opcode, Raw, Response, Stream, frame, get};
pub use server::{Builder, Server, Signal, allow_many_files};
pub use small_disk::SmallDisk;
pub use talk::{Hearer, Talker, talk};
pub use tls::{Certificate, Trust};
pub use wire::Wire;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

/// How long a test waits for one thing before it fails. What is dropped in is compiled meanwhile, at a low priority and
/// beside other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("TULPAR_TESTS_WORKSPACE"))
}

/// What `future` gives, or a panic that says what did not happen in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Tries again until `attempt` gives something; a panic that says what did not happen in time.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
