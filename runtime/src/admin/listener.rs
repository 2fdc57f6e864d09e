//! Where requests come from: the Unix socket, and an address when there is to be one.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::guard::Guard;
use super::{Admin, routes};
use crate::config::Config;
use crate::transport::unix::Bound;

/// Where the page is while a plugin is developed, unless something else is said, and when nobody else is there.
const FOR_DEVELOPMENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3001);

/// How long a request may take to arrive, and the next one to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once, of each of the two. More wait.
const CONNECTIONS: usize = 64;
/// After what time a connection is to end with the request in hand, and how long that may take: an upload, for instance.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long to wait after the operating system has refused to give another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where requests come from.
pub enum Door {
    /// A Unix socket, which its file's permissions guard.
    Unix(Bound),
    /// An address.
    Tcp(Address),
}

/// An address, and what is asked for there.
pub struct Address {
    listener: TcpListener,
    guard: Arc<Guard>,
}

impl Door {
    /// Makes the Unix socket, for the server's own user alone. One that a server left behind which did not end well is
    /// replaced.
    ///
    /// # Errors
    /// It cannot be made, or another server listens on it.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        Bound::new(path, 0o600).await.map(Self::Unix)
    }
}

impl Address {
    /// Takes the address; none when there is to be none.
    ///
    /// # Errors
    /// It cannot be had. The one for development is another one then.
    pub async fn bind(config: &Config) -> io::Result<Option<Self>> {
        let listener = match config.admin.listen {
            Some(address) => TcpListener::bind(address).await?,
            None if config.dev => match TcpListener::bind(FOR_DEVELOPMENT).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            },
            None => return Ok(None),
        };
        Ok(Some(Self {
            listener,
            guard: Arc::new(Guard::new(&config.admin)),
        }))
    }

    /// Where it is.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Answers what comes until the future is dropped.
pub async fn serve(admin: Arc<Admin>, door: Door) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return std::future::pending().await;
        };
        let admin = admin.clone();
        let accepted = match &door {
            Door::Unix(bound) => bound.accept().await.map(|stream| {
                tokio::spawn(connection(admin, stream, None, place));
            }),
            Door::Tcp(Address { listener, guard }) => {
                listener.accept().await.map(|(stream, _)| {
                    // Answers leave whole; the next one is not to wait for the acknowledgement of the last.
                    _ = stream.set_nodelay(true);
                    tokio::spawn(connection(admin, stream, Some(guard.clone()), place));
                })
            }
        };
        if accepted.is_err() {
            sleep(BACK_OFF).await;
        }
    }
}

async fn connection(
    admin: Arc<Admin>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    guard: Option<Arc<Guard>>,
    _place: OwnedSemaphorePermit,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (admin, guard) = (admin.clone(), guard.clone());
        async move { Ok::<_, Infallible>(routes::answer(&admin, guard.as_deref(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = sleep(LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            timeout(LIFETIME, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!("admin: {error}");
    }
}
