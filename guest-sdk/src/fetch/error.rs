//! Why there is no answer.

use std::error::Error as StdError;
use std::fmt;

use wasip2::http::types::ErrorCode;

use super::url::Url;

/// Why another server's answer is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be fetched; the text says why. The URL itself is not in it, it may hold a secret.
    InvalidUrl(String),
    /// The method, a header or the body cannot be sent; the text says which and why.
    InvalidRequest(String),
    /// The operator has not granted the plugin this host.
    Denied {
        /// The host, with the port when the URL has one.
        host: String,
    },
    /// It took too long: to find the host, to connect, or to answer.
    Timeout,
    /// The body of the answer is over the limit, see [`max_body_bytes`](super::Request::max_body_bytes).
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Anything else, in words: a name that is not known, a connection that was refused or broke off, a
    /// certificate that is not valid.
    Failed(String),
}

impl FetchError {
    /// The host has handed over neither an answer nor a reason.
    pub(super) fn broken() -> Self {
        Self::Failed("the request broke off".into())
    }

    pub(super) fn from_code(code: ErrorCode, url: &Url) -> Self {
        let failed = |reason: &str| Self::Failed(format!("`{}`: {reason}", url.authority));
        match code {
            ErrorCode::HttpRequestDenied => Self::Denied {
                host: url.authority.clone(),
            },
            ErrorCode::DnsTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Self::Timeout,
            ErrorCode::HttpRequestUriInvalid => {
                Self::InvalidUrl("its host or its path is not valid".into())
            }
            ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
                failed("no host of that name was found")
            }
            ErrorCode::DestinationUnavailable => failed("the host cannot be reached"),
            ErrorCode::DestinationIpProhibited => failed("the host's address is not allowed"),
            ErrorCode::ConnectionRefused => failed("the connection was refused"),
            ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
                failed("the connection broke off")
            }
            ErrorCode::TlsCertificateError => failed("the host's certificate is not valid"),
            ErrorCode::HttpProtocolError => failed("what the host answered is not HTTP"),
            ErrorCode::InternalError(Some(reason)) => failed(&reason),
            // The names of the rest say it well enough.
            other => failed(format!("{other:?}").trim_start_matches("ErrorCode::")),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl(reason) => write!(f, "the URL cannot be fetched: {reason}"),
            Self::InvalidRequest(reason) => write!(f, "the request cannot be sent: {reason}"),
            Self::Denied { host } => write!(
                f,
                "the host `{host}` is not granted to the plugin: add it to the plugin's `hosts` in tulpar.toml"
            ),
            Self::Timeout => f.write_str("the request took too long"),
            Self::TooLarge { limit } => {
                write!(
                    f,
                    "the body of the answer is over the limit of {limit} bytes"
                )
            }
            Self::Failed(reason) => write!(f, "the request failed: {reason}"),
        }
    }
}

impl StdError for FetchError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: ErrorCode) -> FetchError {
        FetchError::from_code(code, &Url::parse("https://api.example.com:8443/a").unwrap())
    }

    #[test]
    fn a_host_that_is_not_granted_is_a_case_of_its_own() {
        let denied = error(ErrorCode::HttpRequestDenied);
        let host = "api.example.com:8443".to_owned();
        assert_eq!(denied, FetchError::Denied { host });
        assert_eq!(
            denied.to_string(),
            "the host `api.example.com:8443` is not granted to the plugin: \
             add it to the plugin's `hosts` in tulpar.toml"
        );
    }

    #[test]
    fn codes_become_words() {
        assert_eq!(error(ErrorCode::ConnectionTimeout), FetchError::Timeout);
        assert_eq!(
            error(ErrorCode::ConnectionRefused).to_string(),
            "the request failed: `api.example.com:8443`: the connection was refused"
        );
        let words = error(ErrorCode::InternalError(Some("why".into()))).to_string();
        assert!(words.ends_with(": why"), "{words}");
        let words = error(ErrorCode::LoopDetected).to_string();
        assert!(words.ends_with(": LoopDetected"), "{words}");
    }
}
