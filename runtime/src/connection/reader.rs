//! The reading half of a connection. The only caller of `read` on an upgraded stream.
//!
//! A connection that waits holds no buffer: each thread has a spare one, which a connection borrows to read into and
//! gives back when it has taken everything out. Frames are unmasked and handed on where they were read.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::take;
use std::ops::Range;
use std::pin::pin;

use fastwebsockets::OpCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::assembler::{Added, Assembler};
use super::decoder::{Header, ProtocolError, parse_close};
use crate::deflate::Inflater;
use crate::message::Message;
use crate::quota::Account;

/// How much is asked of the operating system at once, at least. Some hundred small messages.
const READ: usize = 16 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a peer sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A ping and its payload.
    Ping(&'a [u8]),
    /// A pong, whatever is in it.
    Pong,
    /// A close frame: the code, when there is one, and the reason.
    Close(Option<u16>, &'a str),
    /// The connection has ended or broken without one.
    End,
}

/// The same, as long as it may move: where in the buffer it is.
enum Taken {
    Message { text: bool, payload: Range<usize> },
    Assembled,
    Ping(Range<usize>),
    Pong,
    Close(Range<usize>),
    End,
}

/// Reads what a peer sends from a stream, within a limit.
pub struct Reader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Up to where the buffer has been taken out.
    taken: usize,
    /// The header whose payload is being waited for, and how much of that has been unmasked and looked at.
    waiting: Option<(Header, usize)>,
    assembler: Assembler,
    /// A compressed frame that is not inflated to its end, and how many of the bytes taken out last are the rest of it.
    unfinished: Option<(Header, usize)>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader for a stream of which `received` has been read already. A message may have so many bytes. Without an
    /// inflater nothing may be compressed.
    #[must_use]
    pub fn new(
        stream: R,
        received: Vec<u8>,
        max_message_bytes: usize,
        inflater: Option<Box<Inflater>>,
    ) -> Self {
        Self {
            stream,
            buffer: received,
            taken: 0,
            waiting: None,
            assembler: Assembler::new(max_message_bytes, inflater),
            unfinished: None,
        }
    }

    /// What comes next. Cancel-safe. What it takes to inflate a large message counts on `account`.
    ///
    /// # Errors
    /// The peer breaks the protocol or the limit. Nothing can be read behind that.
    pub async fn next(&mut self, account: &Account) -> Result<Incoming<'_>, ProtocolError> {
        self.assembler.release();
        let taken = loop {
            let mut taken = self.take();
            if self.unfinished.is_some() {
                let rest = account.in_turns(|| {
                    taken = self.take();
                    self.unfinished.is_none()
                });
                // Boxed, as it is rare.
                Box::pin(rest).await;
            }
            match taken? {
                Some(taken) => break taken,
                None if matches!(self.read().await, Ok(1..)) => {}
                None => break Taken::End,
            }
        };
        Ok(match taken {
            Taken::Message { text, payload } => {
                Incoming::Message(message(text, &self.buffer[payload])?)
            }
            Taken::Assembled => {
                let (text, payload) = self.assembler.message();
                Incoming::Message(message(text, payload)?)
            }
            Taken::Ping(payload) => Incoming::Ping(&self.buffer[payload]),
            Taken::Pong => Incoming::Pong,
            Taken::Close(payload) => {
                let (code, reason) = parse_close(&self.buffer[payload])?;
                Incoming::Close(code, reason)
            }
            Taken::End => Incoming::End,
        })
    }

    /// What comes next, as far as it has been read and inflated.
    fn take(&mut self) -> Result<Option<Taken>, ProtocolError> {
        loop {
            let (header, added) = match self.unfinished.take() {
                Some((header, rest)) => {
                    let rest = &self.buffer[self.taken - rest..self.taken];
                    (header, self.assembler.inflate(&header, rest)?)
                }
                None => {
                    let Some((header, payload, seen)) = self.take_frame()? else {
                        return Ok(None);
                    };
                    match header.opcode {
                        OpCode::Ping => return Ok(Some(Taken::Ping(payload))),
                        OpCode::Pong => return Ok(Some(Taken::Pong)),
                        OpCode::Close => return Ok(Some(Taken::Close(payload))),
                        OpCode::Text | OpCode::Binary if header.fin && !header.deflated => {
                            let text = header.opcode == OpCode::Text;
                            return Ok(Some(Taken::Message { text, payload }));
                        }
                        OpCode::Text | OpCode::Binary | OpCode::Continuation => {}
                    }
                    let payload = &self.buffer[payload];
                    (header, self.assembler.add(&header, payload, seen)?)
                }
            };
            match added {
                Added::More => {}
                Added::Whole => return Ok(Some(Taken::Assembled)),
                Added::Rest(bytes) => {
                    self.unfinished = Some((header, bytes));
                    return Ok(None);
                }
            }
        }
    }

    /// The next frame, when all of it has been read, where its unmasked payload is, and how much of that has been looked
    /// at before.
    fn take_frame(&mut self) -> Result<Option<(Header, Range<usize>, usize)>, ProtocolError> {
        let (header, seen) = match self.waiting {
            Some(waiting) => waiting,
            None => {
                let inflates = self.assembler.inflates();
                let Some((header, len)) = Header::parse(&self.buffer[self.taken..], inflates)?
                else {
                    return Ok(None);
                };
                self.assembler.check(&header)?;
                self.taken += len;
                (header, 0)
            }
        };
        let end = self.taken + header.payload_len;
        if end > self.buffer.len() {
            let seen = self.look_at(&header, seen)?;
            self.waiting = Some((header, seen));
            return Ok(None);
        }
        self.waiting = None;
        let payload = self.taken..end;
        self.taken = end;
        header.unmask(&mut self.buffer[payload.clone()], seen);
        Ok(Some((header, payload, seen)))
    }

    /// Looks at what there is of a text whose frame is not all there, so that a peer need not send to its end what is
    /// none. Returns how much of the payload has been seen. As long as there is more to read it looks at nothing: most
    /// of what is in several pieces is whole a moment later, and would be checked twice.
    fn look_at(&mut self, header: &Header, seen: usize) -> Result<usize, ProtocolError> {
        let read_all_there_was = self.buffer.len() < self.buffer.capacity();
        if !read_all_there_was || !self.assembler.is_text(header) {
            return Ok(seen);
        }
        let payload = &mut self.buffer[self.taken..];
        header.unmask(payload, seen);
        self.assembler.look_at(header, seen, &payload[seen..])?;
        Ok(payload.len())
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let Self {
            stream,
            buffer,
            waiting,
            ..
        } = self;
        let payload_len = waiting.map_or(0, |(header, _)| header.payload_len);
        poll_fn(|cx| {
            if buffer.is_empty() {
                // One that is given back first, so that there is one spare and not two.
                give_back(take(buffer));
                *buffer = SPARE.take();
            }
            // Room for what is missing, but never more at once than has come already: a header alone reserves nothing.
            let missing = payload_len.saturating_sub(buffer.len());
            buffer.reserve(missing.clamp(READ, buffer.len().max(READ)));
            let polled = pin!(stream.read_buf(buffer)).poll(cx);
            if buffer.is_empty() {
                give_back(take(buffer));
            }
            polled
        })
        .await
    }

    /// What it reads from.
    pub(super) fn stream(&self) -> &R {
        &self.stream
    }

    /// The memory that it holds, in bytes: what has come and has not been taken out, and the fragments of a message. A
    /// connection that waits for nothing holds none.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.capacity() + self.assembler.held()
    }

    /// Reads and throws away what still comes, until the peer closes its side.
    pub(super) async fn discard(&mut self) {
        self.waiting = None;
        loop {
            self.taken = self.buffer.len();
            if !matches!(self.read().await, Ok(1..)) {
                return;
            }
        }
    }
}

/// Makes a buffer the thread's spare one, unless a large message has made it large.
fn give_back(buffer: Vec<u8>) {
    if (READ..=4 * READ).contains(&buffer.capacity()) {
        SPARE.set(buffer);
    }
}

fn message(text: bool, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    if text {
        std::str::from_utf8(payload)
            .map(Message::Text)
            .map_err(|_| ProtocolError::InvalidText)
    } else {
        Ok(Message::Binary(payload))
    }
}
