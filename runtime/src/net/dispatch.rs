//! Whose a request is, and what it passes on its way there.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use super::admission::Held;
use super::respond::{self, Answer};
use super::router::{ControllerRoute, Route};
use super::{Server, forwarded, handshake, origin, page};
use crate::controller::{self, CutOff};
use crate::metrics::Refusal;
use crate::middleware;
use crate::plugin::host::RequestContext;
use crate::plugin::{Plugin, Verdict};
use crate::telemetry::{continue_trace, span};

/// What a chain of middlewares that let a request pass has attached to it: the values, as JSON.
type Values = Option<Arc<str>>;

/// Who sends a request.
pub(super) struct Caller {
    /// Where it is: the other end of the connection, or what proxies that are trusted say.
    pub(super) remote: IpAddr,
    /// Whether it is a proxy that has said so. Its connections are not counted; a socket that it brings is.
    pub(super) forwarded: bool,
    /// What the connection holds.
    pub(super) held: Arc<Held>,
}

impl Caller {
    /// Who sends a request with these headers from `peer`.
    pub(super) fn new(server: &Server, peer: IpAddr, held: Arc<Held>, headers: &HeaderMap) -> Self {
        let remote = forwarded::client(&server.config.load().proxy, peer, headers);
        Self {
            remote,
            forwarded: remote != peer,
            held,
        }
    }
}

/// Answers one request. When the answer is 101 the connection goes on as a socket. A client that does not take its answer
/// in time has the connection broken off by `cut_off`.
pub(super) async fn answer(
    server: Arc<Server>,
    caller: Caller,
    cut_off: CutOff,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    // The response before has been written.
    cut_off.send_replace(None);
    let span = span!(
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        client.address = %caller.remote,
        http.response.status_code = Empty,
    );
    let answer = match span.is_disabled() {
        true => find(&server, caller, &cut_off, request).await,
        false => {
            // What others say could have everything of theirs traced.
            if caller.forwarded {
                continue_trace(&span, request.headers());
            }
            let found = find(&server, caller, &cut_off, request);
            // Boxed, as it is rare.
            let answer = Box::pin(found.instrument(span.clone())).await;
            span.record("http.response.status_code", answer.status().as_u16());
            answer
        }
    };
    // One that is streamed has told its own time.
    if respond::is_whole(&answer) {
        // As long as a request may take, and then until the next one has come.
        let over = Instant::now() + 2 * server.config.load().timeouts.handshake();
        cut_off.send_replace(Some(over));
    }
    Ok(answer)
}

/// Has whoever a request is for answer it.
async fn find(
    server: &Arc<Server>,
    caller: Caller,
    cut_off: &CutOff,
    mut request: Request<Incoming>,
) -> Answer {
    // What only the host may say, to middlewares as well.
    for name in [controller::PREFIX, controller::VALUES] {
        request.headers_mut().remove(name);
    }
    let router = server.router();
    let path = request.uri().path();
    if request.method() == Method::CONNECT || !path.starts_with('/') {
        return respond::not_found();
    }
    let is_upgrade = request.method() == Method::GET && handshake::is_wanted(request.headers());
    match (router.find(path), router.find_controller(path)) {
        (Some(route), controller) if is_upgrade || controller.is_none() => {
            to_namespace(server, caller, route, request).await
        }
        (_, Some(route)) => {
            let pause = server.config.load().timeouts.handshake();
            to_controller(caller.remote, (cut_off, pause), route, request).await
        }
        _ if server.config.load().dev && path == "/" && request.method() == Method::GET => {
            respond::html(page::render(&router))
        }
        _ => respond::not_found(),
    }
}

async fn to_namespace(
    server: &Arc<Server>,
    caller: Caller,
    route: &Route,
    request: Request<Incoming>,
) -> Answer {
    if request.method() != Method::GET {
        return respond::not_found();
    }
    let is_upgrade = handshake::is_wanted(request.headers());
    let origins = &route.namespace.settings().sockets.origins;
    if is_upgrade && !origin::is_allowed(request.headers(), origins) {
        server.metrics.refused(Refusal::Origin);
        return respond::forbidden();
    }
    if let Some(left) = quarantined(&route.middlewares).max(route.namespace.quarantined()) {
        return respond::unavailable(left);
    }
    if is_upgrade && let Err(answer) = handshake::check(&request) {
        return *answer;
    }
    behind_middlewares(
        &route.middlewares,
        caller.remote,
        request,
        async |request, values| {
            if !is_upgrade {
                return respond::upgrade_required();
            }
            match handshake::upgrade(server, caller, &route.namespace, values, request) {
                Ok(answer) => answer,
                Err(answer) => *answer,
            }
        },
    )
    .await
}

async fn to_controller(
    remote: IpAddr,
    (cut_off, pause): (&CutOff, Duration),
    route: &ControllerRoute,
    request: Request<Incoming>,
) -> Answer {
    if let Some(left) = quarantined(&route.middlewares).max(route.controller.quarantined()) {
        return respond::unavailable(left);
    }
    behind_middlewares(
        &route.middlewares,
        remote,
        request,
        async |request, values| {
            let answer = match route.controller.answer(request, values.as_deref()).await {
                Ok(response) => {
                    respond::streamed(response.map(|body| body.or_cut_off(cut_off, pause)))
                }
                Err(failure) => respond::failure(failure),
            };
            route.controller.count(&answer);
            answer
        },
    )
    .await
}

/// For how long the last of these still is in quarantine; none when none is.
fn quarantined(chain: &[Arc<Plugin>]) -> Option<Duration> {
    chain.iter().filter_map(|plugin| plugin.quarantined()).max()
}

/// Answers a request with what the middlewares respond, or else with what there is behind them. The headers that they
/// add go into the answer, whoever gives it.
async fn behind_middlewares(
    chain: &[Arc<Plugin>],
    remote: IpAddr,
    request: Request<Incoming>,
    behind: impl AsyncFnOnce(Request<Incoming>, Values) -> Answer,
) -> Answer {
    if chain.is_empty() {
        return behind(request, None).await;
    }
    let (parts, body) = request.into_parts();
    let permits: Option<Vec<_>> = chain.iter().map(|it| it.take_on_decision()).collect();
    let Some(permits) = permits else {
        return respond::unavailable(Duration::from_secs(1));
    };
    let Some((verdict, context)) = decide(chain, permits, remote, &parts).await else {
        return respond::internal_error();
    };
    let (values, added) = context.into_parts();
    let mut answer = match verdict {
        Verdict::Next => behind(Request::from_parts(parts, body), values).await,
        Verdict::Respond {
            status,
            headers,
            body,
        } => {
            let mut answer = Response::new(respond::whole(body));
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            answer
        }
    };
    for (name, value) in &added {
        answer.headers_mut().append(name, value.clone());
    }
    answer
}

/// What the middlewares decide; none when one failed.
async fn decide(
    chain: &[Arc<Plugin>],
    permits: Vec<OwnedSemaphorePermit>,
    remote: IpAddr,
    parts: &Parts,
) -> Option<(Verdict, Box<RequestContext>)> {
    let context = Box::new(RequestContext::new(parts, remote));
    let chain = chain.to_vec();
    // In a task of its own, because this one is dropped when the client hangs up, and the middleware must not be.
    let decided = tokio::spawn(crate::hub::in_turns(
        async move {
            let _permits = permits;
            middleware::run(&chain, context).await
        }
        .in_current_span(),
    ));
    decided.await.ok()?.ok()
}
