//! Why something did not go out.

use std::error::Error as StdError;
use std::fmt;

use crate::Error;
use crate::bindings::imports::tulpar::plugin::ulak as host;

/// Why [`ulak`](mod@crate::ulak) did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UlakError {
    /// What kind of failure it is.
    pub code: UlakErrorCode,
    /// The namespace it is about, as the plugin named it; none when it is about no single one.
    pub namespace: Option<String>,
    /// The same in words, with what it is about.
    pub message: String,
}

impl UlakError {
    /// The host is not asked to send what cannot be written.
    pub(super) fn unwritable(namespace: Option<&str>, cause: &Error) -> Self {
        Self {
            code: UlakErrorCode::InvalidMessage,
            namespace: namespace.map(str::to_owned),
            message: format!("the message cannot be written as JSON: {cause}"),
        }
    }
}

impl fmt::Display for UlakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for UlakError {}

impl From<host::Error> for UlakError {
    fn from(error: host::Error) -> Self {
        Self {
            code: error.code.into(),
            namespace: error.namespace,
            message: error.message,
        }
    }
}

/// What kind of failure a [`UlakError`] is. Displayed, it is the contract's name for it: `socket-not-found`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UlakErrorCode {
    /// Nothing serves that path.
    NamespaceNotFound,
    /// No open socket of the namespace has that id.
    SocketNotFound,
    /// The path is not one that a namespace can have.
    InvalidNamespace,
    /// The room's name is not 1 to 256 bytes without control characters.
    InvalidRoom,
    /// The message is over the size limit (16 MiB unless the operator says otherwise), or cannot be written as
    /// JSON.
    InvalidMessage,
    /// The socket did not take the message: it is closing, or its peer reads too slowly; or its node does not answer.
    SendFailed,
    /// The message could not be handed to the other nodes.
    BroadcastFailed,
    /// The plugin may not address that namespace.
    PermissionDenied,
    /// More rooms or operations in one call than there may be (1,000 unless the operator says otherwise), or more than
    /// the tenant may send in a second or have waiting.
    LimitExceeded,
}

impl fmt::Display for UlakErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NamespaceNotFound => "namespace-not-found",
            Self::SocketNotFound => "socket-not-found",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidRoom => "invalid-room",
            Self::InvalidMessage => "invalid-message",
            Self::SendFailed => "send-failed",
            Self::BroadcastFailed => "broadcast-failed",
            Self::PermissionDenied => "permission-denied",
            Self::LimitExceeded => "limit-exceeded",
        })
    }
}

impl From<host::ErrorCode> for UlakErrorCode {
    fn from(code: host::ErrorCode) -> Self {
        match code {
            host::ErrorCode::NamespaceNotFound => Self::NamespaceNotFound,
            host::ErrorCode::SocketNotFound => Self::SocketNotFound,
            host::ErrorCode::InvalidNamespace => Self::InvalidNamespace,
            host::ErrorCode::InvalidRoom => Self::InvalidRoom,
            host::ErrorCode::InvalidMessage => Self::InvalidMessage,
            host::ErrorCode::SendFailed => Self::SendFailed,
            host::ErrorCode::BroadcastFailed => Self::BroadcastFailed,
            host::ErrorCode::PermissionDenied => Self::PermissionDenied,
            host::ErrorCode::LimitExceeded => Self::LimitExceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_error_keeps_its_parts() {
        let error = UlakError::from(host::Error {
            code: host::ErrorCode::NamespaceNotFound,
            message: "nothing serves `/chat`".into(),
            namespace: Some("/chat".into()),
        });
        assert_eq!(error.code, UlakErrorCode::NamespaceNotFound);
        assert_eq!(error.code.to_string(), "namespace-not-found");
        assert_eq!(error.namespace.as_deref(), Some("/chat"));
        assert_eq!(error.to_string(), "nothing serves `/chat`");
    }

    #[test]
    fn it_is_found_at_any_depth() {
        let error = UlakError::unwritable(None, &Error::msg("why"));
        let wrapped = Error::from(error.clone()).context("cannot tell the others");
        assert_eq!(wrapped.ulak_error(), Some(&error));
        assert_eq!(Error::msg("something else").ulak_error(), None);
    }
}
