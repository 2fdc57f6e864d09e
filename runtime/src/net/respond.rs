//! The host's own HTTP responses, each said once.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::admission::Reason;
use crate::controller::{Failure, ResponseBody};

/// After what time a client may come again where something will soon be free.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// A response of this server.
pub(super) type Answer = Response<Body>;

/// Its body: whole, or a controller's, as it comes.
pub(super) type Body = Either<Full<Bytes>, ResponseBody>;

/// Whether an answer does not come bit by bit.
pub(super) fn is_whole(answer: &Answer) -> bool {
    matches!(answer.body(), Either::Left(_))
}

/// A body that is there.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// What a controller answers.
pub(super) fn streamed(response: Response<ResponseBody>) -> Answer {
    response.map(Either::Right)
}

/// A controller does not answer.
pub(super) fn failure(failure: Failure) -> Answer {
    match failure {
        Failure::Failed => internal_error(),
        Failure::TooSlow => error(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout"),
        Failure::Unsent => error(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
        Failure::Busy => unavailable(SOON),
        Failure::TooLarge => error(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large"),
        Failure::NoHost => bad_request("The request does not name one host"),
    }
}

/// It is not to be had at the moment; the client may come again after a while.
pub(super) fn unavailable(left: Duration) -> Answer {
    after(
        error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        left,
    )
}

/// With the time after which the client may come again.
fn after(mut response: Answer, left: Duration) -> Answer {
    let seconds = left.as_millis().div_ceil(1000).max(1);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A connection, or a socket, is one too many. Some of the others will have ended soon.
pub(super) fn refusal(reason: Reason) -> Answer {
    match reason {
        Reason::Full => unavailable(SOON),
        Reason::TooMany => {
            let response = error(StatusCode::TOO_MANY_REQUESTS, "Too Many Connections");
            after(response, SOON)
        }
    }
}

/// The page may not connect.
pub(super) fn forbidden() -> Answer {
    error(StatusCode::FORBIDDEN, "Forbidden")
}

/// A JSON error with that text.
fn error(status: StatusCode, text: &str) -> Answer {
    let body = serde_json::json!({ "error": text }).to_string();
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    with(response, header::CONTENT_TYPE, "application/json")
}

fn with(mut response: Answer, name: HeaderName, value: &'static str) -> Answer {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

/// Nothing is served there.
pub(super) fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "Not Found")
}

/// The request for an upgrade is malformed.
pub(super) fn bad_request(why: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, why)
}

/// A plugin failed. What it said stays in the log.
pub(super) fn internal_error() -> Answer {
    error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// The path speaks WebSocket, and the request does not.
pub(super) fn upgrade_required() -> Answer {
    let response = error(StatusCode::UPGRADE_REQUIRED, "Upgrade Required");
    let response = with(response, header::UPGRADE, "websocket");
    with(response, header::CONNECTION, "Upgrade")
}

/// The request speaks another version of WebSocket.
pub(super) fn unsupported_version() -> Answer {
    with(upgrade_required(), header::SEC_WEBSOCKET_VERSION, "13")
}

/// A page.
pub(super) fn html(page: String) -> Answer {
    let response = Response::new(whole(page));
    let response = with(response, header::CACHE_CONTROL, "no-store");
    with(response, header::CONTENT_TYPE, "text/html; charset=utf-8")
}
