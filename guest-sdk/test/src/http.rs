//! HTTP requests and responses, whole ones.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The address that clients have unless a test gives them another: one of those that are kept for documentation.
pub(crate) const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A request: of a client, or of a plugin to another host.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) from: IpAddr,
}

impl Request {
    /// A request with any method. `target` is the path and, behind a `?`, the query.
    ///
    /// # Panics
    /// There can be no such method.
    #[must_use]
    #[track_caller]
    pub fn new(method: &str, target: &str) -> Self {
        let Ok(method) = method.parse() else {
            panic!("{method:?} is no method of HTTP");
        };
        Self {
            method,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            from: SOMEWHERE,
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST.
    #[must_use]
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// A PUT.
    #[must_use]
    pub fn put(target: &str) -> Self {
        Self::new("PUT", target)
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(target: &str) -> Self {
        Self::new("DELETE", target)
    }

    /// With one more header.
    ///
    /// # Panics
    /// There can be no such header.
    #[must_use]
    #[track_caller]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        add(&mut self.headers, name, value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into().into();
        self
    }

    /// With this as JSON for its body.
    ///
    /// # Panics
    /// It cannot be JSON.
    #[must_use]
    #[track_caller]
    pub fn with_json(mut self, body: impl Serialize) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = to_json(body);
        self
    }

    /// From this address in the place of 192.0.2.1.
    #[must_use]
    pub fn from_address(mut self, address: impl Into<IpAddr>) -> Self {
        self.from = address.into();
        self
    }

    /// `GET`, for instance.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The path and, behind a `?`, the query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path alone.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first header of that name, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What the body says in JSON.
    ///
    /// # Panics
    /// It is no JSON, or not of that shape.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        from_json(&self.body)
    }

    /// The request of a plugin.
    pub(crate) fn received(parts: request::Parts, body: Bytes) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        Self {
            target: target.to_owned(),
            method: parts.method,
            headers: parts.headers,
            body,
            from: SOMEWHERE,
        }
    }
}

impl From<&str> for Request {
    /// A GET.
    fn from(target: &str) -> Self {
        Self::get(target)
    }
}

impl From<&String> for Request {
    /// A GET.
    fn from(target: &String) -> Self {
        Self::get(target)
    }
}

impl From<String> for Request {
    /// A GET.
    fn from(target: String) -> Self {
        Self::get(&target)
    }
}

/// A response: to a client, or of another host to a plugin.
#[derive(Clone, Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Box<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Response {
    /// An empty one with this status.
    ///
    /// # Panics
    /// It is not 100 to 999.
    #[must_use]
    #[track_caller]
    pub fn new(status: u16) -> Self {
        let Ok(status) = StatusCode::from_u16(status) else {
            panic!("{status} is no status of HTTP");
        };
        Self {
            status,
            headers: Box::default(),
            body: Bytes::new(),
        }
    }

    /// With one more header.
    ///
    /// # Panics
    /// There can be no such header.
    #[must_use]
    #[track_caller]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        add(&mut self.headers, name, value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into().into();
        self
    }

    /// With this as JSON for its body.
    ///
    /// # Panics
    /// It cannot be JSON.
    #[must_use]
    #[track_caller]
    pub fn with_json(mut self, body: impl Serialize) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = to_json(body);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The first header of that name, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is not UTF-8 in it is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What the body says in JSON.
    ///
    /// # Panics
    /// It is no JSON, or not of that shape.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        from_json(&self.body)
    }
}

#[track_caller]
fn add(headers: &mut HeaderMap, name: &str, value: &str) {
    let (Ok(named), Ok(said)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
        panic!("{name:?}: {value:?} is no header of HTTP");
    };
    headers.append(named, said);
}

#[track_caller]
fn to_json(body: impl Serialize) -> Bytes {
    match serde_json::to_vec(&body) {
        Ok(json) => json.into(),
        Err(error) => panic!("the body cannot be JSON: {error}"),
    }
}

#[track_caller]
fn from_json<T: DeserializeOwned>(body: &[u8]) -> T {
    match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            let body = String::from_utf8_lossy(body);
            panic!("{body:?} is not the JSON that was expected: {error}")
        }
    }
}
