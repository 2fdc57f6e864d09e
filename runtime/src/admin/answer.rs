//! Bodies of requests and responses.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// The longest order, in bytes.
const MAX_ORDER: usize = 128 << 10;
/// How long an order may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// A response.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why something is not done, and what to answer.
pub(super) type Refused = (StatusCode, String);

/// What every answer says: it is nothing for a cache, it is what its type says, and nobody else's page may take it in.
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// A response with a body of that type.
pub(super) fn answer(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A response in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).unwrap_or_default();
    answer(status, "application/json", body)
}

/// A response that says why there is no other.
pub(super) fn error(status: StatusCode, why: &str) -> Answer {
    json(status, &serde_json::json!({ "error": why }))
}

/// What came of something.
pub(super) fn outcome(outcome: Result<(), Refused>) -> Answer {
    match outcome {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({ "done": true })),
        Err((status, why)) => error(status, &why),
    }
}

/// The order in a request.
///
/// # Errors
/// It is too long, too slow or none.
pub(super) async fn order<T: DeserializeOwned>(body: Incoming) -> Result<T, Refused> {
    let body = whole(body, MAX_ORDER, PATIENCE).await?;
    serde_json::from_slice(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// All of a body.
///
/// # Errors
/// It is longer than `limit` bytes, takes longer than `patience`, or ends too early.
pub(super) async fn whole(
    body: Incoming,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Refused> {
    let collected = timeout(patience, Limited::new(body, limit).collect()).await;
    let collected =
        collected.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "it takes too long".to_owned()))?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("it is longer than {limit} bytes"),
        )),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    }
}
