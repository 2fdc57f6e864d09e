//! Accepting connections and speaking HTTP on them.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::admission::{Held, Reason, Refusal, Ticket};
use super::dispatch::{self, Caller};
use super::{Busy, Server, respond};
use crate::metrics;
use crate::transport::{Arrival, Encrypted, Listener, Transport};

/// How long to wait after the operating system has refused to give another connection, out of file descriptors for
/// instance: some will be free by then.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Headers that a request may have unless hyper is told another number.
const HEADERS: usize = 100;

/// Accepts connections until `stop` is ready, and looks after sockets whose peers are silent meanwhile. Then those that
/// still speak HTTP end with the request in hand. Each
/// connection counts as `busy` as long as it lasts, as a socket too.
pub async fn accept(
    server: Arc<Server>,
    listener: Listener,
    busy: Busy,
    stop: impl Future<Output = ()>,
) {
    // Nothing is ever sent: connections hear of the end by the sender's being gone.
    let (_serving, stopped) = watch::channel(());
    // It ends with this, as all sockets are being closed then.
    let mut keepalive = JoinSet::new();
    let looks_after = server.keepalive.clone();
    keepalive.spawn(async move { looks_after.run().await });
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match accepted {
            Ok(arrival) => {
                server.metrics.connection();
                // Before it says anything: one address takes no more places by handshakes that it never ends.
                let Some(ticket) = server.ticket(arrival.peer()) else {
                    continue;
                };
                let (server, busy) = (server.clone(), busy.clone());
                tokio::spawn(serve(server, arrival, ticket, busy, stopped.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Whether it is the connection that failed before it was accepted, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

async fn serve(
    server: Arc<Server>,
    arrival: Arrival,
    ticket: Ticket,
    busy: Busy,
    mut stopped: watch::Receiver<()>,
) {
    let peer = arrival.peer();
    let admitted = tokio::select! {
        biased;
        admitted = arrival.admit() => admitted,
        _ = stopped.changed() => return,
    };
    let (transport, remote) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            tracing::debug!(%peer, "dropped: {error}");
            server.metrics.refused(metrics::Refusal::Entrance);
            return;
        }
    };
    // A proxy's connection has not been counted, and now it is known whose it is.
    let counted = match remote == peer {
        true => Ok(None),
        false => server.count(remote),
    };
    let (place, counted) = match (ticket, counted) {
        (Ticket::Place(place), Ok(counted)) => (place, counted),
        (Ticket::Refusal(Refusal { reason, .. }), _) | (_, Err(reason)) => {
            tracing::debug!(%remote, "refused: {reason}");
            return refuse(&server, transport, reason).await;
        }
    };
    let held = Arc::new(Held {
        busy,
        _place: place,
        _counted: counted,
    });
    let encrypted = transport.is_encrypted();
    let http = http(&server);
    let metrics = server.metrics.clone();
    let (cut_off, mut cut) = watch::channel(None);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let cut_off = cut_off.clone();
        let caller = Caller::new(&server, remote, held.clone(), request.headers());
        if encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        dispatch::answer(server.clone(), caller, cut_off, request)
    });
    let connection = http
        .serve_connection(TokioIo::new(transport), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            served = &mut connection => served,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let served = tokio::select! {
        served = served => served,
        () = time_is_over(&mut cut) => {
            metrics.refused(metrics::Refusal::Response);
            tracing::debug!(%peer, "broken off: the client took its response too slowly");
            return;
        }
    };
    if let Err(error) = served {
        // Others are of answers: of a client that has left, or a controller that has failed in its response.
        if error.is_parse() || error.is_timeout() {
            metrics.refused(metrics::Refusal::Request);
        }
        tracing::debug!(%peer, "{error}");
    }
}

/// How HTTP is spoken.
fn http(server: &Server) -> http1::Builder {
    let config = server.config.load();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.timeouts.handshake())
        .max_buf_size(config.limits.request_head_bytes);
    // For hyper's own number it has room on the stack, for any other it takes memory at each request.
    if config.limits.request_headers != HEADERS {
        http.max_headers(config.limits.request_headers);
    }
    http
}

/// Answers the first request on a connection with the reason why it is the last.
async fn refuse(server: &Server, transport: Transport, reason: Reason) {
    let answer = |_: Request<Incoming>| ready(Ok::<_, Infallible>(respond::refusal(reason)));
    let answer = service_fn(answer);
    let connection = http(server)
        .keep_alive(false)
        .serve_connection(TokioIo::new(transport), answer);
    // Who does not ask does not hear it.
    let _ = connection.await;
}

/// Waits for the time that is told last, when one is.
async fn time_is_over(cut: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let over = *cut.borrow_and_update();
        let over = async {
            match over {
                Some(over) => sleep_until(over).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = cut.changed() => if changed.is_err() {
                // Nobody is left who could tell one.
                return pending().await;
            }
        }
    }
}
