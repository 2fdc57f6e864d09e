//! Where connections come from: an address, or a Unix socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::unix::Bound;
use super::{Entrance, Refused, Tls, TlsError, Transport};
use crate::config::{Listen, Live};

/// Who may connect to the Unix socket that is served on: the server's user, and its group, to which a proxy can belong.
const MODE: u32 = 0o660;

/// The address that connections on a Unix socket have: their other end is on this machine.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where connections come from.
pub struct Listener {
    socket: Socket,
    entrance: Arc<Entrance>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(Bound),
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is to be TLS on a Unix socket.
    #[error("there is no TLS on a Unix socket: leave out `tls`, or listen on an address")]
    EncryptedUnix,
    /// The address or the socket cannot be had.
    #[error("cannot listen on {0}")]
    Unavailable(Listen, #[source] io::Error),
}

impl Listener {
    /// Listens where the configuration says. From then on connections wait until they are accepted.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(config: &Live) -> Result<Self, ListenError> {
        let entrance = Entrance::new(config)?;
        let given = config.load_full();
        let listen = &given.listen;
        let socket = match listen {
            Listen::Tcp(address) => TcpListener::bind(address)
                .await
                .and_then(|listener| hold_little(listener, given.limits.unsent_bytes))
                .map(Socket::Tcp),
            Listen::Unix(_) if entrance.tls().is_some() => return Err(ListenError::EncryptedUnix),
            Listen::Unix(path) => Bound::new(path, MODE).await.map(Socket::Unix),
        };
        let unavailable = |error| ListenError::Unavailable(listen.clone(), error);
        Ok(Self {
            socket: socket.map_err(unavailable)?,
            entrance: Arc::new(entrance),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> io::Result<Listen> {
        Ok(match &self.socket {
            Socket::Tcp(listener) => listener.local_addr()?.into(),
            Socket::Unix(bound) => Listen::Unix(Path::to_owned(bound.path())),
        })
    }

    /// What encrypts connections, when they are.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.entrance.tls()
    }

    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    /// The operating system gives none.
    pub async fn accept(&self) -> io::Result<Arrival> {
        let (stream, peer) = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A message is small and somebody waits for it.
                let _ = stream.set_nodelay(true);
                // A socket for both shows IPv4 addresses as IPv6 ones.
                (Transport::Tcp(stream), peer.ip().to_canonical())
            }
            Socket::Unix(bound) => (Transport::Unix(bound.accept().await?), HERE),
        };
        Ok(Arrival {
            stream,
            peer,
            entrance: self.entrance.clone(),
        })
    }
}

/// Has the operating system hold no more than that of each connection that it cannot send yet. They have it from the listener.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn hold_little(listener: TcpListener, unsent_bytes: u32) -> io::Result<TcpListener> {
    // Elsewhere there is no such option, or it only says when there is room again.
    #[cfg(target_os = "linux")]
    if unsent_bytes > 0 {
        socket2::SockRef::from(&listener).set_tcp_notsent_lowat(unsent_bytes)?;
    }
    Ok(listener)
}

impl From<TcpListener> for Listener {
    /// One that lets through all that come.
    fn from(listener: TcpListener) -> Self {
        Self {
            socket: Socket::Tcp(listener),
            entrance: Arc::new(Entrance::open()),
        }
    }
}

/// A connection that was accepted.
pub struct Arrival {
    stream: Transport,
    peer: IpAddr,
    entrance: Arc<Entrance>,
}

impl Arrival {
    /// The address of the other end, be it a client or a proxy; on a Unix socket 127.0.0.1.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Lets it in: when there are proxies it says first whose connection it passes on, and when there is TLS its
    /// handshake comes before anything else. Returns also the address of the client.
    ///
    /// # Errors
    /// It is to be dropped; see [`Refused`].
    pub async fn admit(self) -> Result<(Transport, IpAddr), Refused> {
        self.entrance.admit(self.stream, self.peer).await
    }
}
