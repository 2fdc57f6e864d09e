//! A connection as a handler sees it. Each method is one host function; nothing is cached here.

use std::fmt;
use std::marker::PhantomData;

use ref_cast::{RefCastCustom, ref_cast_custom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::imports::tulpar::plugin::sockets::Socket as Handle;
use crate::error::{Result, refused};
use crate::message::IntoMessage;

/// A WebSocket connection of the plugin's own namespace.
///
/// `D` is the type of the values that its middlewares attached, see [`Socket::data`].
///
/// A handler borrows its socket for the length of a call. To reach it later, keep [`Socket::id`] and ask
/// [`sockets::get`](crate::sockets::get): the connection may be gone by then.
#[derive(RefCastCustom)]
#[repr(transparent)]
pub struct Socket<D = Value> {
    handle: Handle,
    #[trivial]
    data: PhantomData<fn() -> D>,
}

impl<D> Socket<D> {
    /// Its id: unguessable, unique across nodes, the same for the whole connection.
    pub fn id(&self) -> String {
        self.handle.id()
    }

    /// The client's IP address, without the port: what a proxy that is trusted says, else the peer's. On a Unix socket
    /// 127.0.0.1.
    pub fn remote_address(&self) -> String {
        self.handle.remote_address()
    }

    /// The values that belong to the connection: what its middlewares attached, or the last
    /// [`set_data`](Self::set_data). Read anew at each call.
    ///
    /// When nothing was attached the values are JSON's `null`. `type Data = Option<User>` is the way to say
    /// that they may be absent.
    ///
    /// # Errors
    /// When the values are not of the shape of `D`.
    pub fn data(&self) -> Result<D>
    where
        D: DeserializeOwned,
    {
        parse_values(self.handle.values())
    }

    /// Replace the values for the rest of the connection. They outlive a trap and a reload of the plugin.
    ///
    /// # Errors
    /// [`TooLarge`](crate::SocketError::TooLarge) over 64 KiB; or `data` cannot be written as JSON.
    pub fn set_data(&self, data: &(impl Serialize + ?Sized)) -> Result<()> {
        let json = serde_json::to_string(data)?;
        self.handle.set_values(&json).map_err(refused)
    }

    /// Queue a message to the peer. Messages leave in the order of the calls.
    ///
    /// # Errors
    /// [`Closed`](crate::SocketError::Closed), [`TooLarge`](crate::SocketError::TooLarge),
    /// [`LimitExceeded`](crate::SocketError::LimitExceeded),
    /// [`Backpressure`](crate::SocketError::Backpressure) when the peer reads too slowly: the message was not accepted,
    /// and the socket is being closed with 1008 unless the operator has messages dropped instead.
    pub fn send(&self, message: impl IntoMessage) -> Result<()> {
        let payload = message.payload()?;
        self.handle.send(payload.borrow()).map_err(refused)
    }

    /// Queue a ping with up to 125 bytes of payload. The host keeps connections alive by itself; this is
    /// for handlers that want a sign of life sooner.
    ///
    /// # Errors
    /// [`Closed`](crate::SocketError::Closed), [`Backpressure`](crate::SocketError::Backpressure),
    /// [`LimitExceeded`](crate::SocketError::LimitExceeded),
    /// [`InvalidArgument`](crate::SocketError::InvalidArgument) when the payload is too long.
    pub fn ping(&self, payload: &[u8]) -> Result<()> {
        self.handle.ping(payload).map_err(refused)
    }

    /// Bytes accepted but not yet handed to the operating system, frame headers included. That happens when the
    /// handler has returned.
    pub fn buffered_amount(&self) -> u64 {
        self.handle.buffered_amount()
    }

    /// Join a room. Joining a room twice is joining it once.
    ///
    /// # Errors
    /// [`Closed`](crate::SocketError::Closed), [`LimitExceeded`](crate::SocketError::LimitExceeded),
    /// [`InvalidArgument`](crate::SocketError::InvalidArgument) when `room` is not 1 to 256 bytes without
    /// control characters.
    pub fn subscribe(&self, room: &str) -> Result<()> {
        self.handle.subscribe(room).map_err(refused)
    }

    /// Leave a room. Leaving a room one is not in does nothing. A socket that closes leaves its rooms by
    /// itself.
    pub fn unsubscribe(&self, room: &str) {
        self.handle.unsubscribe(room);
    }

    /// Whether the socket is a member of the room.
    pub fn is_subscribed(&self, room: &str) -> bool {
        self.handle.is_subscribed(room)
    }

    /// The rooms the socket is in, in no particular order. During `on_close`: those it was in when it closed.
    pub fn rooms(&self) -> Vec<String> {
        self.handle.rooms()
    }

    /// Send to every member of the room but this socket, whether or not it is a member itself. A room that
    /// does not exist addresses nobody. Returns how many sockets of this node were addressed, those among them that
    /// read too slowly to get it.
    /// Works during `on_close` too.
    ///
    /// # Errors
    /// [`TooLarge`](crate::SocketError::TooLarge), [`LimitExceeded`](crate::SocketError::LimitExceeded),
    /// [`InvalidArgument`](crate::SocketError::InvalidArgument).
    pub fn publish(&self, room: &str, message: impl IntoMessage) -> Result<u32> {
        let payload = message.payload()?;
        self.handle.publish(room, payload.borrow()).map_err(refused)
    }

    /// Begin the closing handshake. A code that may not be sent (RFC 6455, section 7.4.1) becomes 1000, a
    /// reason is cut to 123 bytes. Messages queued before it still leave. Closing twice is closing once.
    pub fn close(&self, code: u16, reason: &str) {
        self.handle.close(code, reason);
    }

    /// Drop the connection at once, without a closing handshake. What is queued is lost.
    pub fn terminate(&self) {
        self.handle.terminate();
    }

    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            data: PhantomData,
        }
    }

    #[ref_cast_custom]
    pub(crate) fn from_ref(handle: &Handle) -> &Self;
}

impl<D> fmt::Debug for Socket<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).finish()
    }
}

fn parse_values<D: DeserializeOwned>(values: Option<String>) -> Result<D> {
    serde_json::from_str(values.as_deref().unwrap_or("null")).map_err(|error| {
        crate::Error::from(error).context(match values {
            Some(_) => "the values of the socket are not of the type of its data",
            None => "the socket has no values, no middleware attached any",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_null() {
        assert_eq!(parse_values::<Option<u8>>(None).unwrap(), None);
        assert!(parse_values::<()>(None).is_ok());
        let error = parse_values::<u8>(None).unwrap_err().to_string();
        assert!(error.starts_with("the socket has no values"), "{error}");
    }

    #[test]
    fn values_of_another_shape_are_an_error_with_its_cause() {
        assert_eq!(parse_values::<u8>(Some("7".into())).unwrap(), 7);
        let error = parse_values::<u8>(Some("true".into())).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("not of the type of its data: invalid type"),
            "{error}"
        );
    }
}
