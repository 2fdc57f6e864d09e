//! Accepting connections and speaking HTTP on them.

use std::future::{Future, pending};
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
use tokio::time::{Instant, sleep_until};

use super::{Busy, Server, dispatch};
use crate::transport::{Arrival, Encrypted, Listener};

/// How long to wait after the operating system has refused to give another connection, out of file descriptors for
/// instance: some will be free by then.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` is ready. Then those that still speak HTTP end with the request in hand. Each
/// connection counts as `busy` as long as it lasts, as a socket too.
pub async fn accept(
    server: Arc<Server>,
    listener: Listener,
    busy: Busy,
    stop: impl Future<Output = ()>,
) {
    // Nothing is ever sent: connections hear of the end by the sender's being gone.
    let (_serving, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        match accepted {
            Ok(arrival) => {
                let (server, busy) = (server.clone(), busy.clone());
                tokio::spawn(serve(server, arrival, busy, stopped.clone()));
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
            return;
        }
    };
    let encrypted = transport.is_encrypted();
    let settings = server.clone();
    let (cut_off, mut cut) = watch::channel(None);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let cut_off = cut_off.clone();
        if encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        dispatch::answer(server.clone(), remote, busy.clone(), cut_off, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.timeouts.handshake())
        .max_buf_size(settings.request_head_bytes)
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
            tracing::debug!(%remote, "broken off: a response took too long");
            return;
        }
    };
    if let Err(error) = served {
        tracing::debug!(%remote, "{error}");
    }
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
