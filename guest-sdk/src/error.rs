//! What a handler fails with: any error at all, and the host's own refusals among them.

use std::error::Error as StdError;
use std::fmt;

use crate::bindings::imports::tulpar::plugin::types;
use crate::ulak::UlakError;

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, made by `?` from whatever a handler meets.
///
/// It does not implement [`std::error::Error`] itself; that is what lets `?` convert every type that does.
/// Displayed, it is the whole chain of causes in one line, which is also what the operator's log shows when
/// a handler returns it.
///
/// ```
/// use tulpar::{Error, Result};
///
/// fn port(text: &str) -> Result<u16> {
///     let port = text.parse()?;
///     if port == 0 {
///         return Err(Error::msg("port 0 cannot be dialled"));
///     }
///     Ok(port)
/// }
///
/// assert_eq!(port("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// An error that is only a text.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self(message.to_string().into())
    }

    /// This error as the cause of a new one that says what was being done.
    ///
    /// ```
    /// let error = tulpar::Error::msg("no such file").context("cannot read the word list");
    /// assert_eq!(error.to_string(), "cannot read the word list: no such file");
    /// ```
    #[must_use]
    pub fn context(self, message: impl fmt::Display) -> Self {
        Self(Box::new(Caused {
            message: message.to_string(),
            cause: self.0,
        }))
    }

    /// The host's refusal, when one is somewhere in the chain.
    ///
    /// ```
    /// use tulpar::{Error, SocketError};
    ///
    /// let error = Error::from(SocketError::Backpressure).context("cannot send the score");
    /// assert_eq!(error.socket_error(), Some(SocketError::Backpressure));
    /// ```
    pub fn socket_error(&self) -> Option<SocketError> {
        self.chain().find_map(|error| error.downcast_ref().copied())
    }

    /// The failure of [`ulak`](mod@crate::ulak), when one is somewhere in the chain.
    ///
    /// ```no_run
    /// use tulpar::prelude::*;
    ///
    /// fn tell(id: &str) -> Result<()> {
    ///     Ok(ulak::to_socket("/chat", id, "psst")?)
    /// }
    ///
    /// if let Err(error) = tell("some id")
    ///     && error.ulak_error().is_some_and(|error| error.code == UlakErrorCode::SocketNotFound)
    /// {
    ///     log::info("it has left");
    /// }
    /// ```
    pub fn ulak_error(&self) -> Option<&UlakError> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    /// An error that a controller answers with this status, 400 to 599, and `{"error":"message"}`. It keeps doing
    /// so when [`context`](Self::context) is added, which the client does not see. Anywhere else it is an error
    /// like any other.
    ///
    /// ```
    /// use tulpar::{Error, Result};
    ///
    /// fn name(id: &str) -> Result<&'static str> {
    ///     match id {
    ///         "1" => Ok("ada"),
    ///         _ => Err(Error::status(404, "no such user")),
    ///     }
    /// }
    ///
    /// assert_eq!(name("2").unwrap_err().to_string(), "no such user");
    /// ```
    pub fn status(status: u16, message: impl fmt::Display) -> Self {
        Self(Box::new(Status {
            status,
            message: message.to_string(),
        }))
    }

    /// What a client is told: the outermost status of the chain, and its text.
    pub(crate) fn told(&self) -> Option<(u16, &str)> {
        let status = self
            .chain()
            .find_map(|error| error.downcast_ref::<Status>())?;
        let Status { status, message } = status;
        (400..=599).contains(status).then_some((*status, message))
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first: &(dyn StdError + 'static) = &*self.0;
        std::iter::successors(Some(first), |&error| error.source())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in self.chain().enumerate() {
            let separator = if depth == 0 { "" } else { ": " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug)]
struct Caused {
    message: String,
    cause: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

#[derive(Debug)]
struct Status {
    status: u16,
    message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Status {}

/// Why the host did not do what it was asked.
///
/// The sizes are the host's defaults; an operator can set others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketError {
    /// The socket is closing or closed.
    Closed,
    /// The message is over the size limit (16 MiB), or the values are over theirs (64 KiB).
    TooLarge,
    /// The peer reads too slowly: its outgoing queue is full, the message was not accepted.
    Backpressure,
    /// A cap was reached: rooms of a socket (1,000), of the namespace or of the tenant (100,000); or what the tenant
    /// may send in a second, or have waiting.
    LimitExceeded,
    /// A room name is not 1 to 256 bytes without control characters, the values are no JSON, or the payload
    /// of a ping is over 125 bytes.
    InvalidArgument,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the socket is closed",
            Self::TooLarge => "the message or the values are over the size limit",
            Self::Backpressure => "the peer reads too slowly, its outgoing queue is full",
            Self::LimitExceeded => "a limit on rooms, or on what may be sent, was reached",
            Self::InvalidArgument => "a room name, a JSON text or a ping's payload is not valid",
        })
    }
}

impl StdError for SocketError {}

impl From<types::SocketError> for SocketError {
    fn from(error: types::SocketError) -> Self {
        match error {
            types::SocketError::Closed => Self::Closed,
            types::SocketError::TooLarge => Self::TooLarge,
            types::SocketError::Backpressure => Self::Backpressure,
            types::SocketError::LimitExceeded => Self::LimitExceeded,
            types::SocketError::InvalidArgument => Self::InvalidArgument,
        }
    }
}

/// A refusal as the crate's error. The generated enum is an error of its own, so `?` would keep that one.
pub(crate) fn refused(error: types::SocketError) -> Error {
    SocketError::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_debug_show_the_whole_chain() {
        let error = Error::from(SocketError::Closed)
            .context("cannot greet")
            .context("on-open");
        let expected = "on-open: cannot greet: the socket is closed";
        assert_eq!(error.to_string(), expected);
        assert_eq!(format!("{error:?}"), expected);
    }

    #[test]
    fn a_refusal_is_found_at_any_depth() {
        let refusal = || refused(types::SocketError::TooLarge);
        assert_eq!(refusal().socket_error(), Some(SocketError::TooLarge));
        assert_eq!(
            refusal().context("deeper").socket_error(),
            Some(SocketError::TooLarge)
        );
        assert_eq!(Error::msg("something else").socket_error(), None);
    }

    #[test]
    fn a_status_is_told_without_its_context() {
        let error = Error::status(404, "no such user").context("cannot greet");
        assert_eq!(error.told(), Some((404, "no such user")));
        assert_eq!(error.to_string(), "cannot greet: no such user");
        assert_eq!(Error::msg("something else").told(), None);
        for none in [0, 200, 399, 600] {
            assert_eq!(Error::status(none, "").told(), None, "{none}");
        }
    }
}
