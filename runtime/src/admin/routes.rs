//! Which request is answered with what.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use prometheus_client::collector::Collector;
use tokio::sync::oneshot;

use super::answer::{Answer, Refused, answer as whole, error, json, order, outcome};
use super::guard::Guard;
use super::joined::Joined;
use super::listing::{self, Query};
use super::numbers::Plugins;
use super::{Admin, Command, Order, page, sockets, upload};
use crate::metrics;
use crate::plugin::host::one_line;
use crate::telemetry::recent::RECENT;

/// Answers a request. Without a guard whoever asks may.
pub(super) async fn answer(
    admin: &Arc<Admin>,
    guard: Option<&Guard>,
    request: Request<Incoming>,
) -> Answer {
    let (mut head, body) = request.into_parts();
    // The body is left out where the answer is sent.
    if head.method == Method::HEAD {
        head.method = Method::GET;
    }
    if let Some(answer) = probe(admin, &head) {
        return answer;
    }
    if let Some(guard) = guard
        && let Err(refused) = guard.check(&head)
    {
        return *refused;
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/metrics") => {
            aside(admin, |admin| {
                let others: [Box<dyn Collector>; 2] = [
                    Box::new(Joined(admin.backplane.numbers())),
                    Box::new(Plugins(admin.plugins())),
                ];
                let metrics = admin.metrics.render(admin.is_ready(), others);
                whole(StatusCode::OK, metrics::MEDIA_TYPE, metrics)
            })
            .await
        }
        (&Method::GET, "/api/overview") => {
            aside(admin, |admin| json(StatusCode::OK, &admin.overview())).await
        }
        (&Method::GET, "/api/plugins") => {
            aside(admin, |admin| json(StatusCode::OK, &admin.plugins())).await
        }
        (&Method::POST, "/api/plugins") => outcome(match order(body).await {
            Ok(order) => obey(admin, order).await,
            Err(refused) => Err(refused),
        }),
        (&Method::PUT, "/api/plugins") => outcome(upload::take(admin, &query, body).await),
        (&Method::GET, "/api/log") => {
            let number = query.after.parse().unwrap_or_default();
            let mut lines = RECENT.after(&query.plugin, number);
            for line in &mut lines {
                line.text = one_line(&line.text);
            }
            let node = admin.about.node.to_string();
            json(
                StatusCode::OK,
                &serde_json::json!({ "node": node, "lines": lines }),
            )
        }
        (&Method::GET, "/api/sockets") => found(admin, query, listing::sockets).await,
        (&Method::GET, "/api/socket") => found(admin, query, listing::socket).await,
        (&Method::GET, "/api/rooms") => found(admin, query, listing::rooms).await,
        (&Method::POST, "/api/sockets") => outcome(match order(body).await {
            Ok(order) => sockets::obey(admin, &order),
            Err(refused) => Err(refused),
        }),
        (&Method::GET, path) => page::file(path).unwrap_or_else(not_found),
        _ => not_found(),
    }
}

/// Whether the server lives, and is ready: the answer to whoever asks, under whatever name or none, as load balancers do.
fn probe(admin: &Admin, head: &Parts) -> Option<Answer> {
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/live") => Some(json(StatusCode::OK, &serde_json::json!({ "live": true }))),
        (&Method::GET, "/ready") => {
            let ready = admin.is_ready();
            let status = match ready {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            let cut_off = admin.cut_off().is_some();
            Some(json(
                status,
                &serde_json::json!({ "ready": ready, "cut-off": cut_off }),
            ))
        }
        _ => None,
    }
}

fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "Not Found")
}

/// What was asked for.
async fn found<T: serde::Serialize + 'static>(
    admin: &Arc<Admin>,
    query: Query,
    find: fn(&Admin, &Query) -> Result<T, Refused>,
) -> Answer {
    let find = move |admin: &Admin| match find(admin, &query) {
        Ok(found) => json(StatusCode::OK, &found),
        Err((status, why)) => error(status, &why),
    };
    aside(admin, find).await
}

/// An answer for which there may be much to look through: no thread that serves has to stop for it.
async fn aside(admin: &Arc<Admin>, make: impl FnOnce(&Admin) -> Answer + Send + 'static) -> Answer {
    let admin = admin.clone();
    let made = tokio::task::spawn_blocking(move || make(&admin));
    // A panic in it has been reported.
    made.await
        .unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}

/// Has an order for a plugin carried out.
async fn obey(admin: &Admin, order: Order) -> Result<(), Refused> {
    let (done, outcome) = oneshot::channel();
    let stopping = || {
        let why = "the server is stopping".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let sent = admin.commands.send(Command { order, done }).await;
    sent.map_err(|_| stopping())?;
    let outcome = outcome.await.map_err(|_| stopping())?;
    outcome.map_err(|why| (StatusCode::CONFLICT, why))
}
