//! The open sockets of the plugin's namespace. In a plugin without a namespace there are none.

use crate::Socket;
use crate::bindings::imports::tulpar::plugin::sockets;

/// The socket of that id; none when it is unknown or has closed.
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

/// The ids of all open sockets, in no particular order.
pub fn ids() -> Vec<String> {
    sockets::ids()
}

/// How many sockets are open.
pub fn count() -> u32 {
    sockets::count()
}
