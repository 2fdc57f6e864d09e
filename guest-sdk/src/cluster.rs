//! The plugin's namespace on all nodes that the server is joined with: [`sockets`](crate::sockets) and
//! [`rooms`](crate::rooms) know those of this node.
//!
//! What is sent to a room reaches its members on all nodes anyway. What is asked here is asked of the other nodes, which
//! takes a round trip on the network; on a server that stands alone it is what this node knows.
//!
//! ```no_run
//! # fn example(room: &str) -> tulpar::Result<()> {
//! use tulpar::{cluster, log, rooms};
//!
//! let everywhere = cluster::room_count(room);
//! log::info(format!("{} of {} are on this node", rooms::count(room), everywhere.count));
//! if everywhere.silent > 0 {
//!     log::warn(format!("{} nodes have not answered", everywhere.silent));
//! }
//! # Ok(()) }
//! ```
//!
//! A socket of another node is sent to with [`Ulak::to_socket`](crate::Ulak::to_socket).

pub use crate::bindings::imports::tulpar::plugin::cluster::{Count, Listing};

use crate::bindings::imports::tulpar::plugin::cluster;

/// How many sockets are open.
pub fn socket_count() -> Count {
    cluster::socket_count()
}

/// The ids of all open sockets, in no particular order: at most 50,000.
pub fn socket_ids() -> Listing {
    cluster::socket_ids()
}

/// The names of all rooms, in no particular order: at most 50,000.
pub fn room_names() -> Listing {
    cluster::room_names()
}

/// How many sockets are in the room.
pub fn room_count(room: &str) -> Count {
    cluster::room_count(room)
}

/// The ids of the sockets in the room, in no particular order: at most 50,000.
pub fn room_members(room: &str) -> Listing {
    cluster::room_members(room)
}
