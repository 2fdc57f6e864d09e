//! The open sockets of the plugin's namespace on this node. In a plugin without a namespace there are none. Those of all
//! nodes are in [`cluster`](crate::cluster).

use crate::Socket;
use crate::bindings::imports::tulpar::plugin::sockets;

/// The socket of that id; none when this node does not have it, or it has closed. One of another node is sent to with
/// [`Ulak::to_socket`](crate::Ulak::to_socket).
///
/// ```no_run
/// # fn example(id: &str) -> tulpar::Result<()> {
/// use tulpar::{Socket, sockets};
///
/// match sockets::get::<()>(id) {
///     Some(peer) => peer.send("psst")?,
///     None => tulpar::log::info("it has left"),
/// }
/// # Ok(()) }
/// ```
pub fn get<D>(id: &str) -> Option<Socket<D>> {
    sockets::get(id).map(Socket::new)
}

/// The ids of all open sockets of this node, in no particular order.
pub fn ids() -> Vec<String> {
    sockets::ids()
}

/// How many sockets are open on this node.
pub fn count() -> u32 {
    sockets::count()
}
