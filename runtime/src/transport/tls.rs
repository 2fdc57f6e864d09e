//! TLS: the server's certificate, which may be replaced while it runs, and the handshakes.
//!
//! Cryptography is that of rustls with ring, as in what plugins reach other hosts by. HTTP/1.1 is the only protocol
//! offered.

mod certificate;
mod halves;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

pub use self::certificate::TlsError;
use self::certificate::{Files, LOOK, Read};
pub(super) use self::halves::{ReadHalf, WriteHalf, split};

/// What encrypts connections.
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: Files,
    /// What was in the files at the start.
    read: Read,
    settle: Duration,
}

/// The certificate that new connections get, with its key.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads the certificate and its key, both in PEM. A file that has been the same for `settle` counts as written.
    ///
    /// # Errors
    /// One of the files cannot be read, holds something else, or they do not belong together.
    pub fn new(certificate: &Path, key: &Path, settle: Duration) -> Result<Self, TlsError> {
        let files = Files::new(certificate, key);
        let provider = Arc::new(ring::default_provider());
        let read = files.read()?;
        let certified = files.certify(&read, &provider)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(certified)));
        let acceptor = settings(provider, current.clone()).map_err(TlsError::Setup)?;
        Ok(Self {
            acceptor: Arc::new(acceptor).into(),
            current,
            files,
            read,
            settle,
        })
    }

    /// Does the handshake. What is no TLS is told so and refused.
    ///
    /// # Errors
    /// The peer does not do it, or leaves.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Looks after the files for as long as it is polled: when they have changed, and do not go on changing, new
    /// connections get the new certificate. One that cannot be used is left aside, and the log says why.
    pub async fn renew(&self) -> Infallible {
        let (mut seen, mut known) = (Ok(self.read.clone()), Ok(self.read.clone()));
        let mut pause = LOOK;
        loop {
            sleep(pause).await;
            let files = self.files.clone();
            // A panic would have been reported; there is nothing to be seen then.
            let Ok(found) = tokio::task::spawn_blocking(move || files.read()).await else {
                continue;
            };
            let found = found.map_err(|error| error.to_string());
            let settled = found == seen;
            seen = found;
            pause = if settled { LOOK } else { self.settle };
            if !settled || seen == known {
                continue;
            }
            known = seen.clone();
            let provider = self.acceptor.config().crypto_provider();
            let certified = seen.clone().and_then(|read| {
                let certified = self.files.certify(&read, provider);
                certified.map_err(|error| error.to_string())
            });
            match certified {
                Ok(certified) => {
                    self.current.0.store(Arc::new(certified));
                    tracing::info!(
                        "new connections get the certificate that was put into {}",
                        self.files
                    );
                }
                Err(why) => {
                    tracing::warn!("{why}; new connections get the certificate from before");
                }
            }
        }
    }
}

fn settings(
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Who comes again brings along what is needed to go on, encrypted for the server alone. So nothing is kept here for
    // those who do not, and a crowd that has lost its connections costs few signatures.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
