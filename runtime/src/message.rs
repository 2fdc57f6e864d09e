//! A message as it passes through the host: a view of bytes that somebody else holds.

/// One whole WebSocket message. It is borrowed from the read buffer on its way to a plugin and from the plugin's
/// call on its way to an outbox, so that the host makes no copy of its own in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The bytes of the payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Why a connection ended, as a plugin is told (RFC 6455, section 7.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseEvent {
    /// The close code; 1005 when the peer sent none, 1006 when the connection dropped.
    pub code: u16,
    /// The reason; empty when there was none.
    pub reason: String,
}
