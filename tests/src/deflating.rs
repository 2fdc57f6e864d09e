//! A client that speaks permessage-deflate (RFC 7692), a step at a time.

use std::net::SocketAddr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::raw::{Frame, Opcode, Raw, Response, frame};
use crate::server::Server;

/// The extension's name.
pub const DEFLATE: &str = "permessage-deflate";

/// What is left out of the end of a message.
const END: [u8; 4] = [0, 0, 0xff, 0xff];
/// The bit of a compressed message in the first byte of its first frame.
pub const RSV1: u8 = 0x40;

/// A message of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub message: Vec<u8>,
    /// The bytes of its payload on the wire, when it was compressed.
    pub compressed: Option<usize>,
}

/// A connection on which messages may be compressed.
pub struct Deflating {
    /// The connection.
    pub raw: Raw,
    /// What the server has agreed to.
    pub answer: String,
    compress: Compress,
    decompress: Decompress,
}

impl Deflating {
    /// Connects and offers to compress; the server has to accept.
    pub async fn connect(address: SocketAddr, path: &str, offer: &str) -> Self {
        Self::over(Raw::connect(address).await, path, offer).await
    }

    /// The same over a connection that there is already.
    pub async fn over(mut raw: Raw, path: &str, offer: &str) -> Self {
        let response = upgrade_offering(&mut raw, path, &[offer]).await;
        let answer = response.header("sec-websocket-extensions");
        let answer = answer.unwrap_or_else(|| panic!("`{offer}` is declined"));
        let bits = |name: &str| {
            let parameter = answer.split("; ").find_map(|it| it.strip_prefix(name));
            parameter.map_or(15, |bits| bits.parse().expect("a number"))
        };
        let (client, server) = (
            bits("client_max_window_bits="),
            bits("server_max_window_bits="),
        );
        Self {
            compress: Compress::new_with_window_bits(Compression::best(), false, client),
            decompress: Decompress::new_with_window_bits(false, server),
            answer: answer.to_owned(),
            raw,
        }
    }

    /// The same to the guest `commander`.
    pub async fn commander(server: &Server, offer: &str) -> Self {
        Self::connect(server.address(), "/commander", offer).await
    }

    /// A message, compressed as agreed.
    pub fn compressed(&mut self, message: &[u8]) -> Vec<u8> {
        if self.answer.contains("client_no_context_takeover") {
            self.compress.reset();
        }
        deflate(&mut self.compress, message)
    }

    /// Sends a message, compressed, in one frame.
    pub async fn send(&mut self, opcode: Opcode, message: &[u8]) {
        let payload = self.compressed(message);
        self.raw.send(frame(opcode, &payload).reserved(RSV1)).await;
    }

    /// Sends a text and expects it back.
    pub async fn expect_echo(&mut self, text: &str) -> Received {
        self.send(Opcode::Text, text.as_bytes()).await;
        let received = self.recv().await;
        assert!(received.message == text.as_bytes(), "{received:?}");
        received
    }

    /// The next frame, which has to be a whole message.
    pub async fn recv(&mut self) -> Received {
        let Frame { first, payload } = self.raw.frame().await;
        assert!(
            matches!(first, 0x81 | 0x82 | 0xc1 | 0xc2),
            "{first:x} {payload:?}"
        );
        if first & RSV1 == 0 {
            return Received {
                message: payload,
                compressed: None,
            };
        }
        if self.answer.contains("server_no_context_takeover") {
            // A new window. It is the server's if it takes more for granted.
            self.decompress.reset(false);
        }
        Received {
            compressed: Some(payload.len()),
            message: self.inflate(payload),
        }
    }

    fn inflate(&mut self, mut payload: Vec<u8>) -> Vec<u8> {
        payload.extend(END);
        let (mut message, mut rest) = (Vec::new(), &payload[..]);
        loop {
            message.reserve(1 << 16);
            let before = self.decompress.total_in();
            let room = message.capacity();
            self.decompress
                .decompress_vec(rest, &mut message, FlushDecompress::Sync)
                .expect("it is compressed as agreed");
            rest = &rest[(self.decompress.total_in() - before) as usize..];
            if message.len() < room {
                assert!(rest.is_empty(), "it is compressed as agreed");
                return message;
            }
        }
    }
}

/// A message, compressed by itself.
pub fn deflated(message: &[u8]) -> Vec<u8> {
    deflate(&mut Compress::new(Compression::best(), false), message)
}

fn deflate(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() + message.len() / 1000 + 100);
    compress
        .compress_vec(message, &mut payload, FlushCompress::Sync)
        .expect("it can be compressed");
    assert!(payload.len() < payload.capacity());
    assert!(payload.ends_with(&END));
    payload.truncate(payload.len() - END.len());
    payload
}

/// An upgraded connection, on which these extensions were offered, each in a header of its own, and the answer.
pub async fn offering(address: SocketAddr, path: &str, offers: &[&str]) -> (Raw, Response) {
    let mut raw = Raw::connect(address).await;
    let response = upgrade_offering(&mut raw, path, offers).await;
    (raw, response)
}

async fn upgrade_offering(raw: &mut Raw, path: &str, offers: &[&str]) -> Response {
    let mut headers = Raw::upgrade_headers();
    headers.extend(
        offers
            .iter()
            .map(|offer| ("Sec-WebSocket-Extensions", *offer)),
    );
    raw.write(&Raw::request("GET", path, &headers)).await;
    let response = raw.response().await;
    assert_eq!(response.status, 101, "{response:?}");
    response
}

/// A server with the guest `commander`, which compresses, with more settings of `[sockets]`.
pub fn compressing(settings: &str) -> Server {
    Server::with(&["commander"])
        .config(&format!("[sockets]\ncompression = true\n{settings}"))
        .start()
}

/// A text of `len` bytes in which little is said twice.
pub fn letters(seed: u32, len: usize) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 28) as u8)
    };
    (0..len).map(|_| letter()).collect()
}
