//! Who is connected, who is in which room, and what waits to be written to them.
//!
//! The hub knows nothing of plugins or the network: host functions and the backplane tell it what to send to whom,
//! and it queues encoded frames in outboxes, which are written when the turn of whoever queued them ends. Nothing here
//! waits, and no lock is held while anybody else's code runs.

mod compression;
mod frame;
mod interest;
mod namespace;
mod outbox;
mod socket;
mod traffic;
mod turn;
mod wire;

pub use compression::Compressor;
pub use frame::{CloseCode, Frame, MAX_CONTROL_PAYLOAD, is_sendable};
pub use interest::{Interest, Place};
pub use namespace::{Audience, JoinError, Leaving, Namespace};
pub use outbox::{Accepted, Next, Outbox, Seen, SendError, State};
pub use socket::Socket;
pub use traffic::Traffic;
pub use turn::{in_turns, turn};
pub use wire::Wire;
