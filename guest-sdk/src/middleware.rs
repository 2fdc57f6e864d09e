//! The handler of a middleware, and the request it sees.

use std::fmt;

use ref_cast::{RefCastCustom, ref_cast_custom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Response;
use crate::bindings::imports::tulpar::plugin::http::Context as Handle;
use crate::error::{Error, Result};

/// Decides about requests before they become sockets or reach a controller.
///
/// Implement it under [`#[tulpar::middleware]`](macro@crate::middleware), which names it; namespaces and
/// controllers list it by that name. The value is made with [`Default`] at the first request and lives as long as
/// the instance.
pub trait Middleware {
    /// Decide about one request.
    ///
    /// # Errors
    /// An error is a 500 `{"error":"Internal Server Error"}` for the peer; its text goes to the log.
    fn handle(&mut self, cx: &Context) -> Result<Verdict>;
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On to the next middleware, or to the upgrade or the controller.
    Next,
    /// Send this response; nothing behind this middleware runs.
    Respond(Response),
}

impl From<Response> for Verdict {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// The HTTP request that asks for an upgrade or for something of a controller, and what the chain of middlewares
/// has made of it.
#[derive(RefCastCustom)]
#[repr(transparent)]
pub struct Context {
    handle: Handle,
}

impl Context {
    /// The method, in upper case.
    pub fn method(&self) -> String {
        self.handle.method()
    }

    /// The path as it was sent, percent-encoding included. One path has many spellings, `/%61` is `/a` to many: to
    /// protect some paths of a controller and not others, name those that everybody may have.
    pub fn path(&self) -> String {
        self.handle.path()
    }

    /// Path and query string as they were sent. They may hold secrets, such as a token: do not log them.
    pub fn uri(&self) -> String {
        self.handle.uri()
    }

    /// The first value of that name in the query string, decoded; none when there is none.
    pub fn query(&self, name: &str) -> Option<String> {
        self.handle.query(name)
    }

    /// The first header of that name, whatever its case; bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn header(&self, name: &str) -> Option<String> {
        self.handle.header(name)
    }

    /// All headers, names in lower case, in the order in which they came.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.handle.headers().into_iter();
        headers.map(|header| (header.name, header.value)).collect()
    }

    /// The client's IP address, without the port: what a proxy that is trusted says, else the peer's. On a Unix socket
    /// 127.0.0.1.
    pub fn remote_address(&self) -> String {
        self.handle.remote_address()
    }

    /// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1); none when there is none.
    pub fn bearer_token(&self) -> Option<String> {
        bearer_token(&self.header("authorization")?).map(str::to_owned)
    }

    /// Attach values to the connection, read back with [`Socket::data`](crate::Socket::data), or by a controller
    /// with [`Request::values`](crate::Request::values). The last call of the chain wins.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON, or is over 64 KiB.
    pub fn set_web_socket_value(&self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let json = serde_json::to_string(value)?;
        self.handle.set_web_socket_value(&json).map_err(Error::msg)
    }

    /// What was attached so far; none when nothing was.
    ///
    /// # Errors
    /// When the values are not of the shape of `T`.
    pub fn web_socket_value<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        parse(self.handle.web_socket_value())
    }

    /// Hand a value to the middlewares behind this one, under a key.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON, or all keys and values of the chain are over 64 KiB together.
    pub fn set(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let json = serde_json::to_string(value)?;
        self.handle.set(key, &json).map_err(Error::msg)
    }

    /// What a middleware before this one set under the key; none when nothing was.
    ///
    /// # Errors
    /// When the value is not of the shape of `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        parse(self.handle.get(key))
    }

    /// Add a header to whatever response is sent, that of the upgrade included.
    ///
    /// # Errors
    /// When name or value are not valid, the header belongs to the host (see [`Response::header`]), or there
    /// are more than 64 of them, or more than 16 KiB together.
    pub fn set_response_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let added = self.handle.set_response_header(name, value.as_ref());
        added.map_err(Error::msg)
    }

    #[ref_cast_custom]
    pub(crate) fn from_ref(handle: &Handle) -> &Self;
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", &self.method())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// The scheme's case does not matter (RFC 9110, section 11.1).
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn parse<T: DeserializeOwned>(json: Option<String>) -> Result<Option<T>> {
    Ok(json.as_deref().map(serde_json::from_str).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_a_verdict() {
        let response = Response::text(403, "no");
        assert_eq!(Verdict::from(response.clone()), Verdict::Respond(response));
    }

    #[test]
    fn bearer_tokens() {
        assert_eq!(bearer_token("Bearer a.b"), Some("a.b"));
        assert_eq!(bearer_token("bearer  a"), Some("a"));
        for other in ["", "Bearer", "Bearer ", "Basic a", "Bearera b"] {
            assert_eq!(bearer_token(other), None, "{other:?}");
        }
    }
}
