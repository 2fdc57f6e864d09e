//! The handlers of a namespace.

use serde::de::DeserializeOwned;

use crate::{Message, Result, Socket};

/// The handlers of the sockets of one path.
///
/// Implement it under [`#[tulpar::namespace]`](macro@crate::namespace), which says where it is mounted. The
/// value is made with [`Default`] when it is first called and lives as long as the instance: the host replaces
/// an instance that trapped or overran its deadline, or whose file was replaced, and its memory goes with it. What
/// must outlive that belongs to the socket, see [`Socket::set_data`], or into the [key-value store](crate::kv).
///
/// The host calls one handler at a time. For one socket: `on_open`, then `on_message` for each message in the
/// order received, then `on_close`, exactly once.
pub trait Namespace {
    /// The values that the middlewares attach to a socket, read with [`Socket::data`]. When an impl leaves it
    /// out, the attribute makes it `()`.
    type Data: DeserializeOwned;

    /// A socket has connected. Nothing else of this socket runs before this returns.
    ///
    /// # Errors
    /// An error closes the socket with 1011 and goes to the log, not to the peer.
    fn on_open(&mut self, ws: &Socket<Self::Data>) -> Result<()> {
        let _ = ws;
        Ok(())
    }

    /// The peer has sent a message.
    ///
    /// # Errors
    /// An error closes the socket with 1011 and goes to the log, not to the peer.
    fn on_message(&mut self, ws: &Socket<Self::Data>, message: Message) -> Result<()> {
        let _ = (ws, message);
        Ok(())
    }

    /// The socket has closed. It has left its rooms and cannot send; [`Socket::rooms`] still names those it
    /// was in, and [`Socket::publish`] reaches the others.
    ///
    /// # Errors
    /// An error goes to the log.
    fn on_close(&mut self, ws: &Socket<Self::Data>, event: CloseEvent) -> Result<()> {
        let _ = (ws, event);
        Ok(())
    }

    /// All that waited for the peer has left, after it was more than half of what may wait (`limits.outbox-bytes`, 1 MiB
    /// unless the operator sets it), or after something was dropped because the peer reads too slowly. Called between
    /// two messages of the socket, once for each time.
    ///
    /// It is for handlers that send more than the peer takes at once, and go on here where they had to stop: when
    /// [`Socket::send`] returned [`Backpressure`](crate::SocketError::Backpressure), or when
    /// [`Socket::buffered_amount`] had grown over half. Where to stop goes with `limits.outbox-bytes`: at less than half of
    /// it this is not called, and more than all of it is not taken.
    ///
    /// It is exported only when the impl writes it, as [`on_reload`](Self::on_reload).
    ///
    /// ```
    /// use tulpar::prelude::*;
    ///
    /// const CHUNK: usize = 64 * 1024;
    /// /// Over half of `limits.outbox-bytes`, so that `on_drain` comes, and a chunk less than all of it: here for 1 MiB.
    /// const ENOUGH: u64 = 600 * 1024;
    ///
    /// /// Sends zeros, as many as the message says.
    /// #[derive(Default)]
    /// struct Zeros;
    ///
    /// impl Zeros {
    ///     fn go_on(ws: &Socket<usize>) -> Result<()> {
    ///         let mut left = ws.data()?;
    ///         while left > 0 && ws.buffered_amount() < ENOUGH {
    ///             let chunk = left.min(CHUNK);
    ///             ws.send(vec![0; chunk])?;
    ///             left -= chunk;
    ///         }
    ///         ws.set_data(&left)
    ///     }
    /// }
    ///
    /// #[tulpar::namespace(path = "/zeros")]
    /// impl Namespace for Zeros {
    ///     type Data = usize;
    ///
    ///     fn on_message(&mut self, ws: &Socket<usize>, message: Message) -> Result<()> {
    ///         ws.set_data(&message.json::<usize>()?)?;
    ///         Self::go_on(ws)
    ///     }
    ///
    ///     fn on_drain(&mut self, ws: &Socket<usize>) -> Result<()> {
    ///         Self::go_on(ws)
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// An error closes the socket with 1011 and goes to the log, not to the peer.
    fn on_drain(&mut self, ws: &Socket<Self::Data>) -> Result<()> {
        let _ = ws;
        Ok(())
    }

    /// The file was replaced while sockets stayed open. Called once, in the new instance, before its first event.
    ///
    /// The sockets are in their rooms and have their values; [`sockets::ids`](crate::sockets::ids) names them, and
    /// [`sockets::get`](crate::sockets::get) has each. What the old instance had in its memory is gone.
    ///
    /// It is exported only when the impl writes it, where the attribute can see it: one that another macro puts into
    /// the impl is not called.
    ///
    /// ```
    /// use tulpar::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Chat;
    ///
    /// #[tulpar::namespace(path = "/chat")]
    /// impl Namespace for Chat {
    ///     fn on_reload(&mut self) -> Result<()> {
    ///         log::info(format!("{} sockets are served by a new version", sockets::count()));
    ///         rooms::broadcast(Json(json!({ "type": "updated" })))?;
    ///         Ok(())
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// An error, a panic or a missed deadline refuses the replacement, and the old one goes on.
    fn on_reload(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CloseEvent {
    /// The close code that the peer sent (RFC 6455, section 7.1.5), also in answer to a close of ours; the one
    /// that the host closed with when the peer broke the protocol or a limit. 1005: the peer sent none.
    /// 1006: the connection dropped without a close frame.
    pub code: u16,
    /// The reason that came with the code; empty when there was none.
    pub reason: String,
}

/// The attributes take a type of any name.
///
/// ```
/// mod namespace {
///     #[derive(Default)]
///     struct Handler;
///
///     #[tulpar::namespace(path = "/handler")]
///     impl tulpar::Namespace for Handler {}
/// }
///
/// mod middleware {
///     use tulpar::prelude::*;
///
///     #[derive(Default)]
///     struct Handler;
///
///     #[tulpar::middleware]
///     impl Middleware for Handler {
///         fn handle(&mut self, _: &Context) -> Result<Verdict> {
///             Ok(Verdict::Next)
///         }
///     }
/// }
///
/// mod controller {
///     #[derive(Default)]
///     struct Handler;
///
///     #[tulpar::controller("/handler")]
///     impl Handler {
///         #[get]
///         fn read(&self) -> tulpar::Result<()> {
///             Ok(())
///         }
///     }
/// }
///
/// mod service {
///     #[derive(Default)]
///     struct Handler;
///
///     #[tulpar::service]
///     impl Handler {
///         fn on_start(&mut self) -> tulpar::Result<()> {
///             Ok(())
///         }
///
///         fn on_stop(&mut self) {}
///     }
/// }
/// # fn main() {}
/// ```
#[cfg(doctest)]
struct Names;
