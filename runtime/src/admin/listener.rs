//! The server's side.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Admin, Command, Order};
use crate::metrics;
use crate::transport::unix::Bound;

/// The longest order, in bytes.
const MAX_ORDER: usize = 4 << 10;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the socket, for the server's own user alone. One that a server left behind which did not end well is replaced.
///
/// # Errors
/// It cannot be made, or another server listens on it.
pub async fn bind(path: &Path) -> io::Result<Bound> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    Bound::new(path, 0o600).await
}

/// Answers on the socket until the future is dropped.
pub async fn serve(admin: Arc<Admin>, listener: Bound) {
    loop {
        let Ok(stream) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(admin.clone(), request));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = served.await {
                tracing::debug!("admin: {error}");
            }
        });
    }
}

async fn answer(
    admin: Arc<Admin>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => json(StatusCode::OK, &serde_json::json!({ "live": true })),
        (&Method::GET, "/ready") => {
            let ready = admin.is_ready();
            let status = match ready {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            json(status, &serde_json::json!({ "ready": ready }))
        }
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::new(
                admin
                    .metrics
                    .render(admin.is_ready(), &admin.plugins())
                    .into(),
            ));
            let media_type = HeaderValue::from_static(metrics::MEDIA_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        }
        (&Method::GET, "/plugins") => json(StatusCode::OK, &admin.plugins()),
        (&Method::POST, "/plugins") => match order(&admin, request).await {
            Ok(()) => json(StatusCode::OK, &serde_json::json!({ "done": true })),
            Err((status, why)) => json(status, &serde_json::json!({ "error": why })),
        },
        _ => json(
            StatusCode::NOT_FOUND,
            &serde_json::json!({ "error": "Not Found" }),
        ),
    })
}

/// Has an order carried out.
async fn order(admin: &Admin, request: Request<Incoming>) -> Result<(), (StatusCode, String)> {
    let body = Limited::new(request.into_body(), MAX_ORDER).collect();
    let body = tokio::time::timeout(PATIENCE, body).await;
    let body = body.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "it takes too long".to_owned()))?;
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|error| bad(error.to_string()))?.to_bytes();
    let order: Order = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let (done, outcome) = oneshot::channel();
    let stopping = |()| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is stopping".to_owned(),
        )
    };
    let sent = admin.commands.send(Command { order, done }).await;
    sent.map_err(|_| stopping(()))?;
    let outcome = outcome.await.map_err(|_| stopping(()))?;
    outcome.map_err(|why| (StatusCode::CONFLICT, why))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
