//! Requests to other servers over HTTP: to those hosts that the operator has granted the plugin.
//!
//! ```toml
//! [plugin.weather]
//! hosts = ["api.example.com"]
//! ```
//!
//! ```no_run
//! # fn example() -> tulpar::Result<()> {
//! use tulpar::{Value, fetch, json};
//!
//! let weather: Value = fetch::get("https://api.example.com/weather?city=Izmir")?.json()?;
//!
//! let answer = fetch::Request::post("https://api.example.com/reports")
//!     .header("Authorization", "Bearer a.b")
//!     .json(&json!({ "degrees": weather["degrees"] }))?
//!     .send()?;
//! if !answer.is_success() {
//!     tulpar::log::warn(format!("the report was answered with {}", answer.status));
//! }
//! # Ok(()) }
//! ```
//!
//! A call waits for the whole answer, and the time counts against the deadline of the handler that makes it: a
//! namespace that waits serves none of its sockets meanwhile. Redirects are not followed: a 302 is an answer like
//! any other.

mod error;
mod url;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingRequest, RequestOptions, Scheme,
};

pub use error::FetchError;
use url::Url;

use crate::Error;
use crate::request::header;
use crate::wasi_http::{self, ReadError, Upload};

const MAX_BODY_BYTES: u64 = 8 * 1024 * 1024;

/// Get what a URL has: see [`Request::send`].
///
/// # Errors
/// Those of [`Request::send`].
pub fn get(url: impl Into<String>) -> Result<Response, FetchError> {
    Request::get(url).send()
}

/// A request to another server. Nothing is sent before [`send`](Self::send), and nothing checked.
#[derive(Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    max_body_bytes: u64,
    timeout: Option<Duration>,
}

impl Request {
    /// A request of any method, to a URL of `http` or `https`.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            max_body_bytes: MAX_BODY_BYTES,
            timeout: None,
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A PUT.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// A PATCH.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new("PATCH", url)
    }

    /// A DELETE.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Add a header. Host, Content-Length, Connection and the like are set by the server.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Set the body. Its content type is a header of its own.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Set the body to a value written as JSON, and its content type unless there is one already.
    ///
    /// # Errors
    /// [`InvalidRequest`](FetchError::InvalidRequest) when the value cannot be written so.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Result<Self, FetchError> {
        self.body = serde_json::to_vec(value).map_err(|error| {
            FetchError::InvalidRequest(format!("the body cannot be written as JSON: {error}"))
        })?;
        if header(&self.headers, "content-type").is_none() {
            self = self.header("Content-Type", "application/json");
        }
        Ok(self)
    }

    /// How large the body of the answer may be. 8 MiB when it is not said.
    pub fn max_body_bytes(mut self, bytes: u64) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// How long each may take: to find the host, connect and agree on TLS, the wait for the answer's head, and the wait
    /// for each part of its body. The server's own limits when it is not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Send it and wait for the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`Denied`](FetchError::Denied) when the operator has not granted the host; otherwise see [`FetchError`].
    pub fn send(self) -> Result<Response, FetchError> {
        let url = Url::parse(&self.url)?;
        let outgoing = self.outgoing(&url)?;
        // Left alone, there is none.
        let body = match self.body.as_slice() {
            [] => None,
            _ => Some(outgoing.body().map_err(|()| FetchError::broken())?),
        };
        let failed = |code| FetchError::from_code(code, &url);
        let future = outgoing_handler::handle(outgoing, self.options()).map_err(failed)?;
        let mut answer = None;
        let mut upload = body.and_then(|body| Upload::new(body, &self.body).ok());
        if let Some(body) = &mut upload {
            let answered = future.subscribe();
            let mut written = body.write(Some(&answered));
            if let Ok(false) = written {
                // A server that refuses may read no more; what is left of the body stays as it is until its answer is read.
                answer = future.get();
                if !answer.as_ref().is_some_and(is_refusal) {
                    written = body.write(None);
                }
            }
            // Whatever becomes of it, what counts is the answer.
            if let Ok(true) = written {
                _ = upload.take().map(Upload::finish);
            }
        }
        if answer.is_none() {
            future.subscribe().block();
            answer = future.get();
        }
        let answer = answer.and_then(Result::ok);
        let answer = answer.ok_or_else(FetchError::broken)?.map_err(failed)?;
        read(&answer, self.max_body_bytes, failed)
    }

    fn outgoing(&self, url: &Url) -> Result<OutgoingRequest, FetchError> {
        let invalid = |error: Error| FetchError::InvalidRequest(error.to_string());
        let headers = Fields::new();
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("content-length") {
                let reason = "the header `Content-Length` is set by the body: leave it out";
                return Err(FetchError::InvalidRequest(reason.into()));
            }
            wasi_http::append(&headers, name, value).map_err(invalid)?;
        }
        if has_length(&self.method, &self.body) {
            let length = self.body.len().to_string();
            wasi_http::append(&headers, "content-length", length.as_bytes()).map_err(invalid)?;
        }
        let outgoing = OutgoingRequest::new(headers);
        let scheme = if url.https {
            Scheme::Https
        } else {
            Scheme::Http
        };
        outgoing.set_method(&method(&self.method)).map_err(|()| {
            FetchError::InvalidRequest(format!("there is no method `{}`", self.method))
        })?;
        let set = outgoing
            .set_scheme(Some(&scheme))
            .and_then(|()| outgoing.set_authority(Some(&url.authority)))
            .and_then(|()| outgoing.set_path_with_query(Some(&url.path_with_query)));
        set.map_err(|()| FetchError::InvalidUrl("its host or its path is not valid".into()))?;
        Ok(outgoing)
    }

    fn options(&self) -> Option<RequestOptions> {
        let nanos = u64::try_from(self.timeout?.as_nanos()).unwrap_or(u64::MAX);
        let options = RequestOptions::new();
        // A host that knows no such limit has its own.
        let _ = options.set_connect_timeout(Some(nanos));
        let _ = options.set_first_byte_timeout(Some(nanos));
        let _ = options.set_between_bytes_timeout(Some(nanos));
        Some(options)
    }
}

/// Whether there is no use in sending more of the body.
fn is_refusal(answer: &Result<Result<IncomingResponse, ErrorCode>, ()>) -> bool {
    !matches!(answer, Ok(Ok(answer)) if answer.status() < 400)
}

/// Without the URL's path, the headers and the body, which may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::parse(&self.url);
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &url.as_ref().map_or("", |url| &url.authority))
            .finish_non_exhaustive()
    }
}

/// What another server has answered, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status. Any of them: an error of the other server is not one of the call.
    pub status: u16,
    /// The headers, in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty when there is none.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is one of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The first header of that name, whatever its case; bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = header(&self.headers, name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The body as UTF-8, with U+FFFD for what is none.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body read as JSON, whatever its content type and the status.
    ///
    /// # Errors
    /// When it is not JSON, or not of the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> crate::Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::from(error).context(format_args!(
                "the answer (status {}) is not JSON of the type it is read as",
                self.status
            ))
        })
    }
}

fn read(
    answer: &IncomingResponse,
    limit: u64,
    failed: impl Fn(wasip2::http::types::ErrorCode) -> FetchError,
) -> Result<Response, FetchError> {
    let body = answer.consume().map_err(|()| FetchError::broken())?;
    let body = wasi_http::read(&body, limit).map_err(|error| match error {
        ReadError::TooLarge => FetchError::TooLarge { limit },
        ReadError::Failed(Some(code)) => failed(code),
        ReadError::Failed(None) => FetchError::broken(),
    })?;
    Ok(Response {
        status: answer.status(),
        headers: answer.headers().entries(),
        body,
    })
}

/// A body of no bytes has a length where one is expected (RFC 9110, section 8.6).
fn has_length(method: &str, body: &[u8]) -> bool {
    !body.is_empty() || ["POST", "PUT", "PATCH"].contains(&method)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn json_brings_its_content_type_unless_there_is_one() {
        let request = Request::post("http://a/")
            .json(&json!({ "b": 1, "a": 2 }))
            .unwrap();
        assert_eq!(request.body, br#"{"b":1,"a":2}"#);
        assert_eq!(
            header(&request.headers, "content-type"),
            Some(&b"application/json"[..])
        );
        let own = Request::post("http://a/").header("content-type", "application/x+json");
        assert_eq!(own.json(&1).unwrap().headers.len(), 1);
        let no_string_keys = std::collections::BTreeMap::from([([1_u8], 1)]);
        let error = Request::post("http://a/")
            .json(&no_string_keys)
            .unwrap_err();
        assert!(
            error.to_string().contains("cannot be written as JSON"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_body_has_a_length_where_one_is_expected() {
        assert!(has_length("POST", b"") && has_length("GET", b"a"));
        assert!(!has_length("GET", b"") && !has_length("DELETE", b""));
    }

    #[test]
    fn answers_are_read() {
        let answer = Response {
            status: 299,
            headers: vec![("x-a".into(), b"1".to_vec())],
            body: b"[1]\xff".to_vec(),
        };
        assert!(answer.is_success());
        assert_eq!(answer.header("X-A").as_deref(), Some("1"));
        assert_eq!(answer.text(), "[1]\u{fffd}");
        let error = answer.json::<Vec<u8>>().unwrap_err().to_string();
        assert!(
            error.starts_with("the answer (status 299) is not JSON"),
            "{error}"
        );
    }

    #[test]
    fn debug_shows_no_secrets() {
        let request = Request::get("https://a.b/s3cret?t=s3cret").header("a", "s3cret");
        let shown = format!("{request:?}");
        assert!(
            shown.contains("a.b") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
