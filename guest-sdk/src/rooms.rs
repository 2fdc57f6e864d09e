//! The rooms of the plugin's namespace. A room exists while it has members. What is sent to one reaches its members on all
//! nodes; what is asked here is what this node has, and [`cluster`](crate::cluster) has the rest.

use crate::bindings::imports::tulpar::plugin::rooms;
use crate::error::{Result, refused};
use crate::message::IntoMessage;

/// Send to every member of the room. Returns how many sockets of this node were addressed; none when the
/// room does not exist. [`Socket::publish`](crate::Socket::publish) leaves the sender out.
///
/// # Errors
/// [`TooLarge`](crate::SocketError::TooLarge), [`LimitExceeded`](crate::SocketError::LimitExceeded),
/// [`InvalidArgument`](crate::SocketError::InvalidArgument).
pub fn to(room: &str, message: impl IntoMessage) -> Result<u32> {
    let payload = message.payload()?;
    rooms::to(room, payload.borrow()).map_err(refused)
}

/// Send to every socket of the namespace. Returns how many sockets of this node were addressed.
///
/// # Errors
/// [`TooLarge`](crate::SocketError::TooLarge), [`LimitExceeded`](crate::SocketError::LimitExceeded).
pub fn broadcast(message: impl IntoMessage) -> Result<u32> {
    let payload = message.payload()?;
    rooms::broadcast(payload.borrow()).map_err(refused)
}

/// The ids of the sockets of this node in the room; empty when there are none.
pub fn members(room: &str) -> Vec<String> {
    rooms::members(room)
}

/// The names of the rooms that sockets of this node are in, in no particular order.
pub fn names() -> Vec<String> {
    rooms::names()
}

/// How many sockets of this node are in the room.
pub fn count(room: &str) -> u32 {
    rooms::count(room)
}
