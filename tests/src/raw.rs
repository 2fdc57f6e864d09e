//! Bytes by hand: handshakes and frames that no client library would send.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::within;

/// The key of RFC 6455's own example, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The opcodes of RFC 6455, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of a fragmented message.
    Continuation = 0,
    /// A text message.
    Text = 1,
    /// A binary message.
    Binary = 2,
    /// Begins or answers the closing handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

/// A frame to be sent. As made by [`frame`] it is well-formed; each field can be made wrong.
pub struct Outgoing<'a> {
    first: u8,
    masked: bool,
    length: u64,
    payload: &'a [u8],
}

/// A whole masked message, or a control frame.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Outgoing<'_> {
    Outgoing {
        first: 0x80 | opcode as u8,
        masked: true,
        length: payload.len() as u64,
        payload,
    }
}

impl Outgoing<'_> {
    /// Not the last frame of its message.
    pub fn unfinished(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// With the reserved bits RSV1 to RSV3 as in 0x40, 0x20, 0x10.
    pub fn reserved(mut self, bits: u8) -> Self {
        self.first |= bits;
        self
    }

    /// With any opcode.
    pub fn opcode(mut self, opcode: u8) -> Self {
        self.first = (self.first & 0xf0) | opcode;
        self
    }

    /// Without a mask, as only a server may send.
    pub fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    /// Announces another length than that of the payload.
    pub fn announcing(mut self, length: u64) -> Self {
        self.length = length;
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
        let flag = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match self.length {
            length @ 0..126 => bytes.push(flag | length as u8),
            length @ 126..=0xffff => {
                bytes.push(flag | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(flag | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend(MASK);
            bytes.extend(
                self.payload
                    .iter()
                    .zip(MASK.iter().cycle())
                    .map(|(byte, mask)| byte ^ mask),
            );
        } else {
            bytes.extend(self.payload);
        }
        bytes
    }
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message, or a control frame.
    pub fn whole(opcode: Opcode, payload: &[u8]) -> Self {
        Self {
            first: 0x80 | opcode as u8,
            payload: payload.to_vec(),
        }
    }

    /// The code and the reason of a close frame.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(
            self.first,
            0x80 | Opcode::Close as u8,
            "it is a close frame"
        );
        let (code, reason) = self
            .payload
            .split_first_chunk()
            .expect("the close frame has a code");
        (
            u16::from_be_bytes(*code),
            String::from_utf8(reason.to_vec()).expect("the reason is UTF-8"),
        )
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }
}

/// What a connection to the server runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A connection to the server.
pub struct Raw {
    stream: Box<dyn Stream>,
    /// The same over TCP, to set how it ends.
    tcp: Option<OwnedFd>,
    ahead: Vec<u8>,
}

impl<S: Stream> From<S> for Raw {
    fn from(stream: S) -> Self {
        Self {
            stream: Box::new(stream),
            tcp: None,
            ahead: Vec::new(),
        }
    }
}

fn clone(tcp: &TcpStream) -> OwnedFd {
    let cloned = tcp.as_fd().try_clone_to_owned();
    cloned.expect("there is a descriptor left")
}

impl Raw {
    /// Connects and sends nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(address))
            .await
            .expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        let tcp = Some(clone(&stream));
        Self {
            tcp,
            ..Self::from(stream)
        }
    }

    /// One that is encrypted, which has sent nothing yet.
    pub fn encrypted(stream: TlsStream<TcpStream>) -> Self {
        let tcp = Some(clone(stream.get_ref().0));
        Self {
            tcp,
            ..Self::from(stream)
        }
    }

    /// Connects and upgrades.
    pub async fn upgraded(address: SocketAddr, path: &str) -> Self {
        let mut raw = Self::connect(address).await;
        raw.upgrade(path).await;
        raw
    }

    /// Connects so that little fits in between, and upgrades: as long as it does not read, the operating system takes no
    /// more than some 50 KB for it, where it would take megabytes.
    pub async fn narrow(address: SocketAddr, path: &str) -> Self {
        let connected = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            // The buffer that the other side gets grows with it.
            socket.set_tcp_mss(536)?;
            socket.connect(&address.into())?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            TcpStream::from_std(socket.into())
        };
        let mut raw = Self::over(connected().expect("the server accepts"));
        raw.upgrade(path).await;
        raw
    }

    /// Upgrades the connection.
    pub async fn upgrade(&mut self, path: &str) {
        self.write(&Self::upgrade_request(path)).await;
        let response = self.response().await;
        assert_eq!(response.status, 101, "{response:?}");
    }

    /// The bytes of a well-formed request for an upgrade.
    pub fn upgrade_request(path: &str) -> Vec<u8> {
        Self::request("GET", path, &Self::upgrade_headers())
    }

    /// The headers of a well-formed request for an upgrade.
    pub fn upgrade_headers() -> Vec<(&'static str, &'static str)> {
        vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ]
    }

    /// The bytes of a request without a body.
    pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes()
    }

    /// Sends bytes. That the server may have hung up already is no failure: what it said before is still read.
    pub async fn write(&mut self, bytes: &[u8]) {
        drop(within("the server to take bytes", self.stream.write_all(bytes)).await);
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Outgoing<'_>) {
        self.write(&frame.bytes()).await;
    }

    /// Breaks the connection off: the server is told that it never was (RST), and gets nothing that it has not read.
    pub fn reset(self) {
        let tcp = self.tcp.as_ref().expect("only TCP can be reset");
        let linger = set_socket_linger(tcp, Some(Duration::ZERO));
        linger.expect("the option can be set");
    }

    /// Ends this side's half of the connection.
    pub async fn finish(&mut self) {
        within("the half to end", self.stream.shutdown())
            .await
            .expect("the half can be ended");
    }

    /// Reads one response. Its body ends where Content-Length says.
    pub async fn response(&mut self) -> Response {
        within("a response", async {
            let Some(mut response) = self.head().await else {
                panic!(
                    "the connection ended before a whole response: {:?}",
                    self.ahead
                );
            };
            let length = response
                .header("content-length")
                .map_or(0, |value| value.parse().expect("a number"));
            response.body = self.take(length).await.expect("the body is whole");
            response
        })
        .await
    }

    /// Reads one frame.
    pub async fn frame(&mut self) -> Frame {
        self.frame_or_end()
            .await
            .expect("the connection ended before a whole frame")
    }

    /// Reads one frame; none when the connection has ended before a whole one.
    pub async fn frame_or_end(&mut self) -> Option<Frame> {
        within("a frame", self.next_frame()).await
    }

    /// Reads frames up to a close frame, and gives its code and reason.
    pub async fn close_frame(&mut self) -> (u16, String) {
        within("a close frame", async {
            loop {
                let frame = self
                    .next_frame()
                    .await
                    .expect("the connection ended without a close frame");
                if frame.first & 0x0f == Opcode::Close as u8 {
                    return frame.close();
                }
            }
        })
        .await
    }

    /// Waits until the server has ended the connection, and gives what it sent until then.
    pub async fn rest(&mut self) -> Vec<u8> {
        within("the connection to end", async {
            while self.fill().await {}
            self.left()
        })
        .await
    }

    async fn next_frame(&mut self) -> Option<Frame> {
        let head = self.take(2).await?;
        assert_eq!(head[1] & 0x80, 0, "a server never masks");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(
                self.take(2).await?.try_into().expect("two bytes"),
            )),
            127 => {
                u64::from_be_bytes(self.take(8).await?.try_into().expect("eight bytes")) as usize
            }
            length => usize::from(length),
        };
        Some(Frame {
            first: head[0],
            payload: self.take(length).await?,
        })
    }

    /// The next response without its body; none when the connection ends before.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        loop {
            if let Some((response, head)) = parse_head(&self.ahead) {
                self.ahead.drain(..head);
                return Some(response);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// What has come and was not read.
    pub(crate) fn left(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    /// The next line with its end; none when the connection ends before.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.ahead.windows(2).position(|pair| pair == b"\r\n");
            if let Some(end) = end {
                return self.take(end + 2).await;
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The next `length` bytes; none when the connection ends before.
    pub(crate) async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.ahead.drain(..length).collect())
    }

    /// Reads some bytes; false at the end of the connection, orderly or not.
    pub(crate) async fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.ahead.extend(&buffer[..read]);
                true
            }
        }
    }
}

/// A plain GET.
pub async fn get(address: SocketAddr, path: &str) -> Response {
    let mut raw = Raw::connect(address).await;
    raw.write(&Raw::request("GET", path, &[])).await;
    raw.response().await
}

/// The response without its body and the length of its head, once that is whole.
fn parse_head(bytes: &[u8]) -> Option<(Response, usize)> {
    // More than any server sends but one that a test has told to.
    let mut headers = vec![httparse::EMPTY_HEADER; 2048];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).expect("the response is HTTP")
    else {
        return None;
    };
    let headers = parsed.headers.iter();
    let headers = headers.map(|header| {
        (
            header.name.to_owned(),
            String::from_utf8_lossy(header.value).into_owned(),
        )
    });
    let response = Response {
        status: parsed.code.expect("it is parsed"),
        headers: headers.collect(),
        body: Vec::new(),
    };
    Some((response, head))
}
