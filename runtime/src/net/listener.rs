//! Accepting connections and speaking HTTP on them.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Busy, Server, dispatch};

/// How long to wait after the operating system has refused to give another connection, out of file descriptors for
/// instance: some will be free by then.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` is ready, and looks after sockets whose peers are silent meanwhile. Then those that still speak HTTP end with the request in hand. Each
/// connection counts as `busy` as long as it lasts, as a socket too.
pub async fn accept(
    server: Arc<Server>,
    listener: TcpListener,
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
            Ok((stream, remote)) => {
                let (server, busy) = (server.clone(), busy.clone());
                tokio::spawn(serve(server, stream, remote, busy, stopped.clone()));
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
    stream: TcpStream,
    remote: SocketAddr,
    busy: Busy,
    mut stopped: watch::Receiver<()>,
) {
    // A message is small and somebody waits for it.
    let _ = stream.set_nodelay(true);
    let settings = server.clone();
    let (cut_off, mut cut) = watch::channel(None);
    let answer = service_fn(move |request| {
        let cut_off = cut_off.clone();
        dispatch::answer(server.clone(), remote.ip(), busy.clone(), cut_off, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.timeouts.handshake())
        .max_buf_size(settings.request_head_bytes)
        .serve_connection(TokioIo::new(stream), answer)
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
