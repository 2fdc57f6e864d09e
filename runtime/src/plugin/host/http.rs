//! `tulpar:plugin/http`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Uri};
use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use super::super::bindings::tulpar::plugin::http::{Header, Host, HostContext};
use super::{HostState, MAX_VALUES, checked_json_in_words};

/// The most headers that a chain of middlewares may add to a response, and that one of them may respond with.
const MAX_RESPONSE_HEADERS: usize = 64;
/// The most bytes of these, names and values together.
const MAX_RESPONSE_HEADER_BYTES: usize = 16 << 10;

/// What a guest's handle to the context stands for: the one request of the call.
pub struct ContextHandle;

/// A request and what a chain of middlewares has made of it.
#[derive(Debug)]
pub struct RequestContext {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    remote: IpAddr,
    value: Option<Arc<str>>,
    notes: HashMap<String, Arc<str>>,
    response_headers: ResponseHeaders,
}

/// Headers of a response, of which there are not too many.
#[derive(Debug, Default)]
pub struct ResponseHeaders {
    headers: HeaderMap,
    bytes: usize,
}

impl RequestContext {
    /// The context of a request from `remote`, before any middleware.
    #[must_use]
    pub fn new(request: &Parts, remote: IpAddr) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            headers: request.headers.clone(),
            remote,
            value: None,
            notes: HashMap::new(),
            response_headers: ResponseHeaders::default(),
        }
    }

    /// What was attached to the connection, and the headers to add to the response.
    #[must_use]
    pub fn into_parts(self) -> (Option<Arc<str>>, HeaderMap) {
        (self.value, self.response_headers.into())
    }
}

/// Whether a header of a response is the host's own business.
fn is_host_header(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || name.as_str().starts_with("sec-websocket-")
}

impl HostState {
    fn request(&mut self) -> Result<&mut RequestContext> {
        self.request.as_deref_mut().ok_or_else(|| {
            format_err!("the request's context is used after the middleware has returned")
        })
    }
}

impl HostContext for HostState {
    fn method(&mut self, _: Resource<ContextHandle>) -> Result<String> {
        Ok(self.request()?.method.to_string())
    }

    fn path(&mut self, _: Resource<ContextHandle>) -> Result<String> {
        Ok(self.request()?.uri.path().to_owned())
    }

    fn query(&mut self, _: Resource<ContextHandle>, name: String) -> Result<Option<String>> {
        let query = self.request()?.uri.query().unwrap_or_default();
        let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| *key == name);
        Ok(found.map(|(_, value)| value.into_owned()))
    }

    fn uri(&mut self, _: Resource<ContextHandle>) -> Result<String> {
        let uri = &self.request()?.uri;
        Ok(uri
            .path_and_query()
            .map_or_else(|| uri.path().to_owned(), ToString::to_string))
    }

    fn header(&mut self, _: Resource<ContextHandle>, name: String) -> Result<Option<String>> {
        let value = self.request()?.headers.get(name.as_str());
        Ok(value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()))
    }

    fn headers(&mut self, _: Resource<ContextHandle>) -> Result<Vec<Header>> {
        let headers = self.request()?.headers.iter();
        Ok(headers
            .map(|(name, value)| Header {
                name: name.to_string(),
                value: value.as_bytes().to_vec(),
            })
            .collect())
    }

    fn remote_address(&mut self, _: Resource<ContextHandle>) -> Result<String> {
        Ok(self.request()?.remote.to_string())
    }

    fn set_web_socket_value(
        &mut self,
        _: Resource<ContextHandle>,
        json: String,
    ) -> Result<Result<(), String>> {
        let request = self.request()?;
        Ok(checked_json_in_words(json).map(|json| request.value = Some(json)))
    }

    fn web_socket_value(&mut self, _: Resource<ContextHandle>) -> Result<Option<String>> {
        Ok(self
            .request()?
            .value
            .as_ref()
            .map(|json| json.as_ref().to_owned()))
    }

    fn set(
        &mut self,
        _: Resource<ContextHandle>,
        key: String,
        json: String,
    ) -> Result<Result<(), String>> {
        let request = self.request()?;
        Ok(checked_json_in_words(json).and_then(|json| request.note(key, json)))
    }

    fn get(&mut self, _: Resource<ContextHandle>, key: String) -> Result<Option<String>> {
        Ok(self
            .request()?
            .notes
            .get(&key)
            .map(|json| json.as_ref().to_owned()))
    }

    fn set_response_header(
        &mut self,
        _: Resource<ContextHandle>,
        name: String,
        value: Vec<u8>,
    ) -> Result<Result<(), String>> {
        Ok(self.request()?.response_headers.add(&name, &value))
    }

    fn drop(&mut self, _: Resource<ContextHandle>) -> Result<()> {
        Ok(())
    }
}

impl Host for HostState {}

impl RequestContext {
    fn note(&mut self, key: String, json: Arc<str>) -> std::result::Result<(), String> {
        let others = self.notes.iter().filter(|(other, _)| **other != key);
        let size: usize = others.map(|(key, json)| key.len() + json.len()).sum();
        if size + key.len() + json.len() > MAX_VALUES {
            return Err(format!(
                "what the middlewares handed on is over {MAX_VALUES} bytes together"
            ));
        }
        self.notes.insert(key, json);
        Ok(())
    }
}

impl ResponseHeaders {
    /// One more.
    ///
    /// # Errors
    /// It is none that a plugin may put into a response, or one too many.
    pub fn add(&mut self, name: &str, value: &[u8]) -> std::result::Result<(), String> {
        let bytes = self.bytes + name.len() + value.len();
        if bytes > MAX_RESPONSE_HEADER_BYTES {
            return Err(format!(
                "the headers of the response are over {MAX_RESPONSE_HEADER_BYTES} bytes together"
            ));
        }
        let (name, value) = response_header(name, value)?;
        if self.headers.len() >= MAX_RESPONSE_HEADERS {
            return Err(format!(
                "there are {MAX_RESPONSE_HEADERS} headers of the response, the most there may be"
            ));
        }
        self.headers.append(name, value);
        self.bytes = bytes;
        Ok(())
    }
}

impl From<ResponseHeaders> for HeaderMap {
    fn from(headers: ResponseHeaders) -> Self {
        headers.headers
    }
}

/// A header that a plugin may put into a response.
fn response_header(
    name: &str,
    value: &[u8],
) -> std::result::Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not the name of a header"))?;
    if is_host_header(&parsed) {
        return Err(format!("the header {parsed} belongs to the host"));
    }
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| format!("the value of the header {parsed} is not valid"))?;
    Ok((parsed, value))
}
