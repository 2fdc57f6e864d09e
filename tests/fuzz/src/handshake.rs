//! A client's request, and what it sends behind it: any bytes over a real connection.
//!
//! The server speaks HTTP as it always does, with a plugin behind it that sends everything back. Whether a request is one
//! for a socket is told here once more, by RFC 6455, section 4.2.1; the syntax of HTTP is left to a parser.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tulpar_runtime::config::{Config, Sockets};
use tulpar_runtime::ids::NodeId;
use tulpar_runtime::net::router::Router;
use tulpar_runtime::net::{self, Busy, Server};

use crate::world::{THREAD, World};
use crate::{Seen, Target, frames, kind};

pub(crate) const TARGET: Target = Target {
    name: "handshake",
    run: handshake,
    words: &[
        "GET /acme/echo HTTP/1.1\r\n",
        "GET /acme/echo?a=b HTTP/1.1\r\n",
        "GET http://localhost/acme/echo HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "HTTP/1.0\r\n",
        "Host: localhost\r\n",
        "Upgrade: websocket\r\n",
        "Upgrade: h2c, WebSocket\r\n",
        "Connection: keep-alive, Upgrade\r\n",
        "Connection: close\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Key: ",
        "Sec-WebSocket-Protocol: chat, superchat\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15; server_max_window_bits=8\r\n",
        "Origin: http://localhost\r\n",
        "Origin: null\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "X-Forwarded-For: 1.2.3.4\r\n",
        "\r\n",
        "\n",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        "ffffffffffffffff\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "==\r\n",
        " ",
        "\t",
        "%2f",
        "/../",
        "\0",
        "\u{ff}",
    ],
};

const PATH: &str = "/acme/echo";
/// How long one thing may take, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(15);

static HOST: LazyLock<Mutex<Host>> = LazyLock::new(|| Mutex::new(Host::new()));
/// Whether one of the host's threads has panicked, which nobody else would hear of.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The server that all inputs are sent to.
struct Host {
    world: World,
    address: SocketAddr,
    /// A connection that is served holds another one of it.
    busy: Busy,
    limit: usize,
}

impl Host {
    fn new() -> Self {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(THREAD) {
                PANICKED.store(true, Ordering::Relaxed);
            }
            others(panic);
        }));
        let sockets = Sockets {
            compression: true,
            ..Sockets::default()
        };
        let world = World::with("echo", sockets);
        let limits = world.limits.clone();
        let limit = limits.max_message_bytes;
        let config = Config {
            limits,
            ..Config::default()
        };
        let (busy, _) = mpsc::channel(1);
        let accepting = busy.clone();
        let address = world.runtime.block_on(async {
            let router = Router::new(&[Arc::new(world.load("acme").await)]);
            let node = NodeId::random().expect("there is randomness");
            let server = Arc::new(Server::new(node, &config, router));
            let listener = TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("there is a free port");
            let address = listener.local_addr().expect("it has an address");
            tokio::spawn(net::accept(
                server,
                listener.into(),
                accepting,
                std::future::pending(),
            ));
            address
        });
        Self {
            world,
            address,
            busy,
            limit,
        }
    }

    /// Sends the bytes, and gives what is answered until the connection ends. An answer that is due is waited for before
    /// this side ends its half.
    async fn converse(&self, bytes: &[u8], is_due: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the server accepts");
        // It may have hung up already.
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        let all = async {
            while is_due && head(&answer).is_none() {
                if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                    return;
                }
            }
            drop(stream.shutdown().await);
            // A connection that is reset has ended as well.
            drop(stream.read_to_end(&mut answer).await);
        };
        timeout(PATIENCE, all)
            .await
            .expect("the connection ends, and what is due is answered");
        answer
    }

    /// Waits until nothing is left of a connection.
    async fn forget(&self) {
        // One is held here, and one by who accepts.
        let forgotten = async {
            while self.busy.strong_count() > 2 {
                sleep(Duration::from_micros(50)).await;
            }
        };
        let forgotten = timeout(PATIENCE, forgotten).await;
        forgotten.expect("nothing is left of the connection");
    }
}

/// Sends the bytes to a server, and checks what it answers.
pub fn handshake(bytes: &[u8]) -> Seen {
    let host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = Wanted::of(bytes);
    let is_due = !matches!(wanted, Wanted::Incomplete);
    let answer = host.world.runtime.block_on(async {
        let answer = host.converse(bytes, is_due).await;
        host.forget().await;
        answer
    });
    assert!(!PANICKED.load(Ordering::Relaxed), "the host has panicked");
    let Some(Head {
        status,
        accept,
        extensions,
        rest,
    }) = head(&answer)
    else {
        assert!(!matches!(wanted, Wanted::Socket { .. }), "{wanted:?}");
        return vec![0];
    };
    match (status, &wanted) {
        (101, Wanted::Socket { key, offers, .. }) => {
            assert_eq!(accept, Some(derive_accept_key(key.as_bytes())));
            let agreed = extensions.as_deref().unwrap_or_default();
            if let Some(extensions) = &extensions {
                assert!(*offers, "{extensions:?} was not offered");
                assert!(extensions.starts_with("permessage-deflate"), "{extensions}");
            }
            let frames = frames::check(rest, host.limit, extensions.is_some());
            vec![3000 + kind(agreed), 2000 + frames.min(9) as u64]
        }
        (101, _) => panic!("{wanted:?} is a socket"),
        (status, Wanted::Socket { doubts: false, .. }) => panic!("{status} for {wanted:?}"),
        (400 | 403 | 404 | 413 | 414 | 417 | 426 | 429 | 431 | 501 | 503 | 505, _) => {
            let why = kind(&String::from_utf8_lossy(rest).replace('"', ""));
            vec![
                u64::from(status) + 1000 * u64::from(is_due),
                u64::from(status) * 1000 + why,
            ]
        }
        _ => panic!("{status} for {wanted:?}"),
    }
}

/// What is looked at of the first response, and what follows it.
struct Head<'a> {
    status: u16,
    accept: Option<String>,
    extensions: Option<String>,
    rest: &'a [u8],
}

/// The head of the first response; none when it is not all there.
fn head(answer: &[u8]) -> Option<Head<'_>> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).expect("the answer is HTTP");
    let Status::Complete(len) = parsed else {
        return None;
    };
    let value = |name: &str| {
        let mut headers = response.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(header.value).into_owned())
    };
    Some(Head {
        status: response.code?,
        accept: value("sec-websocket-accept"),
        extensions: value("sec-websocket-extensions"),
        rest: &answer[len..],
    })
}

/// What a client wants.
#[derive(Debug)]
enum Wanted {
    /// Its request is not all there.
    Incomplete,
    /// Something else, or nothing that is understood.
    Other,
    /// A socket.
    Socket {
        key: String,
        /// It knows extensions.
        offers: bool,
        /// There may be reasons to refuse it.
        doubts: bool,
    },
}

impl Wanted {
    fn of(bytes: &[u8]) -> Self {
        let mut headers = [EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(Status::Partial) => return Self::Incomplete,
            Ok(Status::Complete(_)) => (),
            Err(_) => return Self::Other,
        }
        let all = |name: &str| {
            let headers = request.headers.iter();
            let named = headers.filter(|header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value).collect::<Vec<_>>()
        };
        let lists = |name: &str, wanted: &str| {
            let values = all(name).into_iter();
            let values = values.filter(|value| value.iter().all(|b| matches!(b, b'\t' | 32..=126)));
            let mut members = values.flat_map(|value| value.split(|byte| *byte == b','));
            members.any(|member| member.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let target = request.path.unwrap_or_default();
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let has_other_form = !target.starts_with('/');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?=&%._~-".contains(&byte);
        let [key] = all("sec-websocket-key")[..] else {
            return Self::Other;
        };
        let is_socket = request.method == Some("GET")
            && request.version == Some(1)
            && (path == PATH || has_other_form)
            && lists("upgrade", "websocket")
            && lists("connection", "upgrade")
            && all("sec-websocket-version") == [b"13"]
            && is_key(key);
        if !is_socket {
            return Self::Other;
        }
        const TELLING: [&str; 5] = [
            "content-length",
            "expect",
            "origin",
            "transfer-encoding",
            "x-forwarded-for",
        ];
        Self::Socket {
            key: String::from_utf8_lossy(key).into_owned(),
            offers: !all("sec-websocket-extensions").is_empty(),
            doubts: has_other_form
                || !target.bytes().all(is_plain)
                || all("host") != [b"localhost"]
                || TELLING.iter().any(|name| !all(name).is_empty()),
        }
    }
}

/// Whether these are 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let Some(digits) = key.strip_suffix(b"==") else {
        return false;
    };
    let values: Option<Vec<_>> = digits
        .iter()
        .map(|digit| DIGITS.iter().position(|other| other == digit))
        .collect();
    // The last digit has four bits more than are needed.
    values.is_some_and(|values| values.len() == 22 && values[21] % 16 == 0)
}
