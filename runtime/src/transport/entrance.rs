//! What a connection passes before HTTP: the header of a proxy, when there are proxies, and the handshake of TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::proxy::{HeaderError, read_header};
use super::{Tls, TlsError, Transport};
use crate::config::{Config, Proxy};

/// What connections pass.
pub struct Entrance {
    /// The proxies that say whose connection it is; none when no connection begins with that.
    proxy: Option<Proxy>,
    tls: Option<Arc<Tls>>,
    patience: Duration,
}

/// Why a connection is dropped before anything is said on it. It is the peer's fault each time.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Connections come from the proxies alone, and it does not.
    #[error("it comes from none of the proxies in `proxy.trusted`")]
    Stranger,
    /// The proxy does not say whose connection it is.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The handshake of TLS failed.
    #[error("no TLS: {0}")]
    Tls(io::Error),
    /// It takes longer than `timeouts.handshake-ms`.
    #[error("the handshake takes too long")]
    TooSlow,
}

impl Entrance {
    /// The one that the configuration asks for.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let settle = config.timeouts.settle();
        let files = config.tls.files();
        let tls = files.map(|(certificate, key)| Tls::new(certificate, key, settle));
        Ok(Self {
            proxy: Some(&config.proxy).filter(|it| it.protocol).cloned(),
            tls: tls.transpose()?.map(Arc::new),
            patience: config.timeouts.handshake(),
        })
    }

    /// One that lets through all that come.
    #[must_use]
    pub const fn open() -> Self {
        Self {
            proxy: None,
            tls: None,
            patience: Duration::MAX,
        }
    }

    /// What encrypts connections, when they are.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Lets a connection in. Returns also whose it is: the peer's address, or the one that its proxy names.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(super) async fn admit(
        &self,
        stream: Transport,
        peer: IpAddr,
    ) -> Result<(Transport, IpAddr), Refused> {
        if self.proxy.is_none() && self.tls.is_none() {
            return Ok((stream, peer));
        }
        // Boxed, because it is large, and gone soon.
        let admitted = Box::pin(self.check(stream, peer));
        let admitted = timeout(self.patience, admitted).await;
        admitted.map_err(|_| Refused::TooSlow)?
    }

    async fn check(
        &self,
        mut stream: Transport,
        peer: IpAddr,
    ) -> Result<(Transport, IpAddr), Refused> {
        let mut client = peer;
        if let Some(proxy) = &self.proxy {
            // Anybody else could claim to be anyone.
            if !proxy.trusts(peer) {
                return Err(Refused::Stranger);
            }
            let named = read_header(&mut stream).await?;
            client = named.map_or(peer, |it| it.to_canonical());
        }
        if let Some(tls) = &self.tls
            && let Transport::Tcp(tcp) = stream
        {
            let encrypted = tls.accept(tcp).await.map_err(Refused::Tls)?;
            stream = Transport::Tls(Box::new(encrypted));
        }
        Ok((stream, client))
    }
}
