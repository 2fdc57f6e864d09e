//! What a connection passes before HTTP: the header of a proxy, when there are proxies, and the handshake of TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::timeout;

use super::proxy::{HeaderError, read_header};
use super::{Tls, TlsError, Transport};
use crate::config::Live;

/// What connections pass.
pub struct Entrance {
    /// None: all are let in as they come.
    config: Option<Live>,
    /// Whether a proxy says first whose connection it is.
    proxied: bool,
    tls: Option<Arc<Tls>>,
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
    pub fn new(live: &Live) -> Result<Self, TlsError> {
        let config = live.load();
        let settle = config.timeouts.settle();
        let files = config.tls.files();
        let tls = files.map(|(certificate, key)| Tls::new(certificate, key, settle));
        Ok(Self {
            config: Some(live.clone()),
            proxied: config.proxy.protocol,
            tls: tls.transpose()?.map(Arc::new),
        })
    }

    /// One that lets through all that come.
    #[must_use]
    pub const fn open() -> Self {
        Self {
            config: None,
            proxied: false,
            tls: None,
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
        let Some(config) = self
            .config
            .as_ref()
            .filter(|_| self.proxied || self.tls.is_some())
        else {
            return Ok((stream, peer));
        };
        let patience = config.load().timeouts.handshake();
        // Anybody else could claim to be anyone.
        if self.proxied && !config.load().proxy.trusts(peer) {
            return Err(Refused::Stranger);
        }
        // Boxed, because it is large, and gone soon.
        let admitted = Box::pin(self.check(stream, peer));
        let admitted = timeout(patience, admitted).await;
        admitted.map_err(|_| Refused::TooSlow)?
    }

    async fn check(
        &self,
        mut stream: Transport,
        peer: IpAddr,
    ) -> Result<(Transport, IpAddr), Refused> {
        let mut client = peer;
        if self.proxied {
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
