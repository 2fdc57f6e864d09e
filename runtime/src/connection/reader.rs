//! The reading half of a connection. The only caller of `read` on an upgraded stream.

use std::io;

use bytes::{Bytes, BytesMut};
use fastwebsockets::OpCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::assembler::{Assembled, Assembler};
use super::decoder::{Header, MAX_HEADER, ProtocolError, parse_close};

/// How much is asked of the operating system at once, at least.
const READ: usize = 4 << 10;

/// What a peer sends.
pub(super) enum Incoming {
    Message(Assembled),
    Ping(Bytes),
    Pong,
    /// A close frame: the code, when there is one, and the reason.
    Close(Option<u16>, String),
    /// The connection has ended or broken without one.
    End,
}

pub(super) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
    /// The header whose payload is being waited for.
    header: Option<Header>,
    assembler: Assembler,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader for a stream of which `received` has been read already.
    pub(super) fn new(stream: R, received: BytesMut, max_message_bytes: usize) -> Self {
        Self {
            stream,
            buffer: received,
            header: None,
            assembler: Assembler::new(max_message_bytes),
        }
    }

    /// What comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Incoming, ProtocolError> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            if !matches!(self.read().await, Ok(1..)) {
                return Ok(Incoming::End);
            }
        }
    }

    /// What comes next, as far as it has been read.
    fn take(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        loop {
            let header = match self.header {
                Some(header) => header,
                None => {
                    let Some(header) = Header::take(&mut self.buffer)? else {
                        return Ok(None);
                    };
                    self.assembler.check(&header)?;
                    header
                }
            };
            let Some(frame) = header.take_payload(&mut self.buffer) else {
                self.header = Some(header);
                return Ok(None);
            };
            self.header = None;
            match frame.opcode {
                OpCode::Ping => return Ok(Some(Incoming::Ping(frame.payload.freeze()))),
                OpCode::Pong => return Ok(Some(Incoming::Pong)),
                OpCode::Close => {
                    let (code, reason) = parse_close(&frame.payload)?;
                    return Ok(Some(Incoming::Close(code, reason)));
                }
                OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                    if let Some(message) = self.assembler.add(frame) {
                        return Ok(Some(Incoming::Message(message)));
                    }
                }
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        // Room for what is missing, but never more at once than has come already: a header alone reserves nothing.
        let missing = self
            .header
            .map_or(MAX_HEADER, |header| header.payload_len - self.buffer.len());
        self.buffer
            .reserve(missing.clamp(READ, self.buffer.len().max(READ)));
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Reads and throws away what still comes, until the peer closes its side.
    pub(super) async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ);
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return;
            }
        }
    }
}
