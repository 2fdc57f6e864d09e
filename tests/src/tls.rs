//! Certificates made for a test, and clients that trust them alone.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::within;

/// The name that the certificates are for.
const NAME: &str = "localhost";

/// A certificate and its key in files, which can be replaced.
pub struct Certificate {
    folder: TempDir,
    trust: Trust,
}

impl Certificate {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trust = make(folder.path());
        Self { folder, trust }
    }

    /// The settings of a server that has it.
    pub fn config(&self) -> String {
        let [certificate, key] = self.files().map(|path| path.display().to_string());
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// Where the certificate and its key are.
    pub fn files(&self) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| self.folder.path().join(name))
    }

    /// Whom a client trusts that knows it.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// Puts a new one in its place, as it is done: written elsewhere and moved there, one file after the other.
    pub fn replace(&mut self) {
        let new = tempfile::tempdir_in(&self.folder).expect("a temporary folder");
        self.trust = make(new.path());
        for file in self.files() {
            let name = file.file_name().expect("it has a name");
            fs::rename(new.path().join(name), &file).expect("the file can be moved");
        }
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

fn make(folder: &Path) -> Trust {
    let made = generate_simple_self_signed([NAME.to_owned()]);
    let CertifiedKey { cert, signing_key } = made.expect("a certificate can be made");
    let key: KeyPair = signing_key;
    fs::write(folder.join("certificate.pem"), cert.pem()).expect("the file can be written");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("the file can be written");
    Trust::only(cert.der().clone())
}

/// A client that trusts one certificate and no other.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    fn only(certificate: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it is a certificate");
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("there is a common version");
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self(Arc::new(config))
    }

    /// The same client when it offers these protocols by ALPN.
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Connects; that the handshake fails fails the test.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let connected = self.try_connect(address).await;
        connected.expect("the handshake is done")
    }

    /// Connects, or says why the handshake fails.
    pub async fn try_connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = within("a TCP connection", TcpStream::connect(address)).await;
        self.encrypt(stream.expect("the server accepts")).await
    }

    /// A connection for a thread that waits. The handshake is done when it is first written to.
    pub fn waiting(
        &self,
        stream: std::net::TcpStream,
    ) -> StreamOwned<ClientConnection, std::net::TcpStream> {
        let name = ServerName::try_from(NAME).expect("it is a name");
        let session =
            ClientConnection::new(self.0.clone(), name).expect("there is a common version");
        StreamOwned::new(session, stream)
    }

    /// Does the handshake on a connection that there is already, or says why it fails.
    pub async fn encrypt(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let name = ServerName::try_from(NAME).expect("it is a name");
        let connecting = TlsConnector::from(self.0.clone()).connect(name, stream);
        within("the handshake of TLS", connecting).await
    }
}
