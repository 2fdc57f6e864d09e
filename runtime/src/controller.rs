//! A controller that serves: HTTP requests below a path, each answered by an instance of its own.

mod body;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Request, Response, Uri, Version};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use self::body::{Course, Listener, RequestBody};
pub use self::body::{CutOff, ResponseBody};
use crate::hub;
use crate::plugin::describe::ControllerDescriptor;
use crate::plugin::{CallError, Overrun, Plugin};
use crate::telemetry::span;

/// Where a controller finds the path that it is mounted at.
pub const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Where a controller finds what the middlewares attached, as JSON.
pub const VALUES: HeaderName = HeaderName::from_static("tulpar-values");

/// The longest error of a controller that is logged whole, in bytes.
const MAX_ERROR: usize = 1024;

/// A controller and the path that it serves.
pub struct Controller {
    plugin: Arc<Plugin>,
    /// The path that it serves with everything below; empty for everything.
    pub mount: String,
    /// A name for logs and tables.
    pub name: String,
    /// The names of the middlewares before it, in their order.
    pub middlewares: Vec<String>,
}

/// Why a request has no response of the controller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The controller failed. What it said is in the log.
    Failed,
    /// It took too long.
    TooSlow,
    /// It waited too long for the client to send the request's body.
    Unsent,
    /// It has as many requests in hand as it may have.
    Busy,
    /// The request's body is too large.
    TooLarge,
    /// The request does not say for which host it is.
    NoHost,
}

impl Controller {
    /// The controller that a plugin has described.
    #[must_use]
    pub fn new(plugin: Arc<Plugin>, descriptor: &ControllerDescriptor) -> Self {
        Self {
            plugin,
            mount: descriptor.mount.clone(),
            name: descriptor.name.clone(),
            middlewares: descriptor.middlewares.clone(),
        }
    }

    /// The file that it comes from.
    #[must_use]
    pub fn source(&self) -> String {
        self.plugin.id().to_string()
    }

    /// For how long its plugin still is in quarantine; none when it is not.
    #[must_use]
    pub fn quarantined(&self) -> Option<Duration> {
        self.plugin.quarantined()
    }

    /// Counts what a request to it was answered with.
    pub fn count<B>(&self, answer: &Response<B>) {
        self.plugin.tally().count_response(answer.status().as_u16());
    }

    /// Whether a path is its own or below.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.mount)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request. `values` is what the middlewares attached. When the future is dropped the controller goes on
    /// to its end, with nobody to hear it.
    ///
    /// # Errors
    /// There is no response; see [`Failure`].
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        values: Option<&str>,
    ) -> Result<Response<ResponseBody>, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error> + std::error::Error + Send + Sync,
    {
        let limit = self.plugin.settings().limits.request_deadline_ms;
        let deadline = Instant::now() + Duration::from_millis(limit.into());
        let is_head = request.method() == Method::HEAD;
        let course = Course::default();
        let request = self.prepare(request, values, &course)?;
        let Some(permits) = self.plugin.take_on_request() else {
            return Err(Failure::Busy);
        };
        let (sender, response) = oneshot::channel();
        // Behind the receiver, so that it is dropped before it.
        let listener = Listener(course.clone());
        let (plugin, known) = (self.plugin.clone(), course.clone());
        // In a task of its own: the response begins before the call ends, and a client that hangs up ends neither.
        let span = span!("controller", plugin = %plugin.id());
        let call = tokio::spawn(hub::in_turns(async move {
            let (mut unheard, mut held_up) = (false, false);
            let failed = || {
                unheard = known.abandoned.is_set();
                held_up = known.unsent.is_set() || known.unread.is_set();
                known.broken.set();
            };
            let outcome = plugin.answer(request, sender, failed).await;
            drop(permits);
            match &outcome {
                // It could not write what nobody reads.
                Err(error) if unheard => {
                    tracing::debug!(plugin = %plugin.id(), "controller: after the client left: {error}");
                }
                // A client that stalls is none of its failures.
                Err(error @ CallError::Overrun(Overrun::Total(_))) if held_up => {
                    tracing::debug!(plugin = %plugin.id(), "controller: the client held it up: {error}");
                }
                Err(error) => warn(&plugin, plugin.report(error), &error.to_string()),
                Ok(()) => {}
            }
            outcome
        }.instrument(span)));
        match response.await {
            // Whatever the controller makes of it, the client hears what was wrong.
            _ if course.too_large.is_set() => Err(Failure::TooLarge),
            Ok(Ok(response)) if !(200..600).contains(&response.status().as_u16()) => {
                warn(
                    &self.plugin,
                    self.plugin.count_failure(),
                    &format!(
                        "{} is no status from 200 to 599",
                        response.status().as_u16()
                    ),
                );
                Err(Failure::Failed)
            }
            Ok(Ok(response)) => {
                let response = ResponseBody::of(&self.plugin, response, listener, deadline);
                Ok(match is_head {
                    true => response.map(ResponseBody::for_nobody),
                    false => response,
                })
            }
            Ok(Err(code)) => {
                warn(
                    &self.plugin,
                    self.plugin.count_failure(),
                    &format!("it answered with the error {}", error_in_words(&code)),
                );
                Err(Failure::Failed)
            }
            Err(_) => match call.await {
                Ok(Ok(())) => {
                    warn(
                        &self.plugin,
                        self.plugin.count_failure(),
                        "it gave no response",
                    );
                    Err(Failure::Failed)
                }
                Ok(Err(CallError::Overrun(_))) if course.unsent.is_set() => Err(Failure::Unsent),
                Ok(Err(CallError::Overrun(_))) => Err(Failure::TooSlow),
                Ok(Err(_)) | Err(_) => Err(Failure::Failed),
            },
        }
    }

    /// The request as the controller sees it: its path relative to the controller's, its body bounded.
    fn prepare<B>(
        &self,
        request: Request<B>,
        values: Option<&str>,
        course: &Course,
    ) -> Result<Request<RequestBody<B>>, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let (mut parts, body) = request.into_parts();
        let limit = self.plugin.settings().limits.request_body_bytes;
        if body.size_hint().lower() > limit as u64 {
            return Err(Failure::TooLarge);
        }
        if !names_one_host(&parts) {
            return Err(Failure::NoHost);
        }
        parts.uri = self.relative(&parts.uri).ok_or(Failure::Failed)?;
        let prefix = Some(&self.mount).filter(|mount| !mount.is_empty());
        let prefix = prefix.and_then(|mount| HeaderValue::from_bytes(mount.as_bytes()).ok());
        set(&mut parts.headers, PREFIX, prefix);
        set(&mut parts.headers, VALUES, values.and_then(header_of_json));
        parts.version = Version::HTTP_11;
        let body = RequestBody::new(body, limit, course);
        Ok(Request::from_parts(parts, body))
    }

    /// A path below the controller's, and the query as it was.
    fn relative(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path().strip_prefix(&self.mount)?;
        let path = if rest.is_empty() { "/" } else { rest };
        let path = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        if parts.authority.is_none() {
            parts.scheme = None;
        }
        Uri::from_parts(parts).ok()
    }
}

/// An error that a controller gave, in one line: its text is the plugin's, and escaped.
fn error_in_words(code: &ErrorCode) -> String {
    let mut text = format!("{code:?}");
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    text
}

/// Tells the log of a failure, the last of so many.
fn warn(plugin: &Plugin, failures: u64, what: &str) {
    if plugin.may_log() {
        tracing::warn!(failures, plugin = %plugin.id(), "controller: {what}");
    }
}

/// Whether a request says for which host it is: in one Host header, or in its URI beside one at most.
fn names_one_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let named = match request.uri.authority() {
        Some(authority) => !authority.as_str().contains('@'),
        None => host.is_some_and(|host| Authority::try_from(host.as_bytes()).is_ok()),
    };
    named && another.is_none()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// JSON in a form that a header can have: control characters stand between its tokens, where a space does as well, and
/// DEL inside of a text, where it can be escaped.
fn header_of_json(json: &str) -> Option<HeaderValue> {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\0'..='\x1f' => text.push(' '),
            '\x7f' => text.push_str("\\u007f"),
            _ => text.push(c),
        }
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_any_json_becomes_a_header_that_means_the_same() {
        for json in ["{\n\t\"a\" : 1.50\r\n}", "\"\u{7f}ö\\n\"", "null"] {
            let header = header_of_json(json).unwrap();
            let read: serde_json::Value = serde_json::from_slice(header.as_bytes()).unwrap();
            assert_eq!(
                read,
                serde_json::from_str::<serde_json::Value>(json).unwrap()
            );
        }
    }
}
