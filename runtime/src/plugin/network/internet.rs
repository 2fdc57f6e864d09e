//! Requests over TCP and TLS, each on a connection of its own, and how long each step of them may take.

use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::lookups::Lookups;
use super::{Error, Network, Permit, RequestOptions, Rest, Sending, WasiBody};

/// How long a step may take when the plugin does not say. Its own deadline is over before.
const LIMIT: Duration = Duration::from_secs(600);

/// The network that this machine is in.
#[derive(Clone)]
pub struct Internet {
    lookups: Lookups,
    tls: Result<TlsConnector, rustls::Error>,
}

impl Default for Internet {
    fn default() -> Self {
        Self {
            lookups: Lookups::default(),
            tls: tls(),
        }
    }
}

impl Network for Internet {
    fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        permit: Permit,
    ) -> Sending {
        let options = options.unwrap_or_default();
        Box::pin(self.clone().exchange(request, options, permit))
    }
}

impl Internet {
    async fn exchange(
        self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
        permit: Permit,
    ) -> Result<(Response<WasiBody>, Rest), Error> {
        let limit = options.connect_timeout.unwrap_or(LIMIT);
        let connected = timeout(limit, self.connect(request.uri(), permit)).await;
        let (mut sender, mut connection) = connected.map_err(|_| Error::ConnectionTimeout)??;

        // A host is asked for a path; the rest of the URI is for proxies.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();

        let mut open = true;
        let answer = async {
            let mut answer = pin!(sender.send_request(request));
            // Nothing is written or read but by polling the connection.
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                ended = &mut connection => {
                    open = false;
                    // It may fail behind the answer, by what the host sends or does next.
                    match (ended, (&mut answer).now_or_never()) {
                        (_, Some(Ok(answer))) => return Ok(answer),
                        (Err(error), _) | (_, Some(Err(error))) => return Err(error),
                        (Ok(()), None) => {}
                    }
                }
            }
            answer.await
        };
        let limit = options.first_byte_timeout.unwrap_or(LIMIT);
        let answer = timeout(limit, answer).await;
        let answer = answer.map_err(|_| Error::ConnectionReadTimeout)??;

        let rest = async move {
            if open {
                // What fails now, whoever reads the body is told.
                let _ = connection.await;
            }
            Ok(())
        };
        let limit = options.between_bytes_timeout.unwrap_or(LIMIT);
        let answer = answer.map(|body| AnswerBody::new(body, limit).boxed_unsync());
        Ok((answer, Box::new(rest)))
    }

    async fn connect(
        &self,
        uri: &Uri,
        permit: Permit,
    ) -> Result<(SendRequest<WasiBody>, Connection), Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let default_port = if encrypted { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        // An IPv6 address is in brackets here, and nowhere else.
        let host = authority.host().trim_matches(['[', ']']);
        let connected = match host.parse::<IpAddr>() {
            Ok(address) => TcpStream::connect((address, port)).await,
            Err(_) => match self.lookups.find(host, port, permit).await {
                Ok(addresses) => TcpStream::connect(&*addresses).await,
                Err(error) => Err(error),
            },
        };
        let stream = connected.map_err(Error::Connect)?;
        if !encrypted {
            return speak(stream).await;
        }
        let unusable = |error: rustls::Error| Error::InternalError(Some(error.to_string()));
        let tls = self.tls.clone().map_err(unusable)?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Error::DestinationNotFound)?;
        speak(tls.connect(name, stream).await.map_err(Error::Tls)?).await
    }
}

/// What encrypts all connections. It trusts the roots that browsers trust.
fn tls() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.into(),
    };
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // A host could tell by it that two tenants are of one server.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config).into())
}

/// What writes and reads, for as long as it is polled.
type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<(SendRequest<WasiBody>, Connection), Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    Ok((sender, Box::pin(connection)))
}

/// The body of an answer, which fails when the wait for its next part takes too long.
struct AnswerBody {
    body: Incoming,
    limit: Duration,
    /// The end of the wait, while there is one.
    wait: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    fn new(body: Incoming, limit: Duration) -> Self {
        Self {
            body,
            limit,
            wait: None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.wait = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let limit = self.limit;
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
