//! The reading half of a connection. The only caller of `read` on an upgraded stream.
//!
//! A connection that waits holds no buffer: each thread has a spare one, which a connection borrows to read into and
//! gives back when it has taken everything out. Frames are unmasked and handed on where they were read.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::ops::Range;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use fastwebsockets::OpCode;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::yield_now;

use super::assembler::{Added, Assembler};
use super::decoder::{Header, ProtocolError, parse_close};
use super::keepalive::{Listened, Verdict};
use crate::deflate::Inflater;
use crate::message::Message;
use crate::quota::{Account, Held, Hold, Spent};

/// How much is asked of the operating system at once, at least. Some hundred small messages.
const READ: usize = 16 << 10;
/// How large a buffer is at most that a thread keeps as its spare one. What a connection holds beyond that is counted.
const SMALL: usize = 4 * READ;
/// Frames that are taken out in one go and are no whole message as they stand. Then others have their turn.
const AT_ONCE: u16 = 512;
/// For how long fragments are inflated in one turn.
const TURN: Duration = Duration::from_micros(500);

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
    /// Such frames since others had their turn.
    fruitless: u16,
    /// Frames that bring no message any further, pings among them, and have still to be counted: as messages, for they take as
    /// long.
    empty: u16,
    /// Whether nobody wants messages any more.
    closing: bool,
    /// What is held beyond [`SMALL`], as it is counted. Boxed, as it is rare.
    counted: Option<Box<Hold>>,
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
            fruitless: 0,
            empty: 0,
            closing: false,
            counted: None,
        }
    }

    /// What comes next. Cancel-safe. What it takes to inflate a message counts on `account`, and so does the memory for a large
    /// one, until the next is asked for.
    ///
    /// # Errors
    /// The peer breaks the protocol or a limit. Nothing can be read behind that.
    pub async fn next(&mut self, account: &Account) -> Result<Incoming<'_>, ProtocolError> {
        self.assembler.release();
        let taken = loop {
            let mut taken = match self.unfinished {
                None => self.take(),
                Some(_) => Ok(None),
            };
            if self.unfinished.is_some() {
                let inflating = account.in_turns(|| {
                    taken = self.inflate(account);
                    taken.is_err() || self.unfinished.is_none()
                });
                // Boxed, so that it takes no room in the task of each idle connection.
                Box::pin(inflating).await;
            }
            if self.empty > 0 {
                account.charge(Spent::Messages, take(&mut self.empty).into());
            }
            match taken? {
                Some(taken) => break taken,
                None if self.fruitless >= AT_ONCE => {
                    // Behind the driver, as a guest that computes.
                    yield_now().await;
                    if account.exhausted(Spent::Messages).is_some() {
                        // Boxed, as it is rare.
                        Box::pin(account.wait_for_one(Spent::Messages)).await;
                    }
                    self.fruitless = 0;
                }
                None if self.read(account).await? > 0 => {}
                None => break Taken::End,
            }
        };
        if let Taken::Message { .. } | Taken::Assembled = taken {
            self.count(account)?;
        }
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

    /// What comes next, behind a compressed frame of which some is inflated first, or several small ones.
    fn inflate(&mut self, account: &Account) -> Result<Option<Taken>, ProtocolError> {
        let begun = Instant::now();
        loop {
            let taken = self.take()?;
            self.count(account)?;
            if self.unfinished.is_none() || begun.elapsed() >= TURN {
                return Ok(taken);
            }
        }
    }

    /// What comes next, as far as it has been read and inflated.
    fn take(&mut self) -> Result<Option<Taken>, ProtocolError> {
        loop {
            let (header, added) = match self.unfinished.take() {
                Some((header, rest)) => {
                    let rest = &self.buffer[self.taken - rest..self.taken];
                    (header, self.assembler.inflate(&header, rest)?)
                }
                None if self.fruitless >= AT_ONCE => return Ok(None),
                None => {
                    let Some((header, payload, seen)) = self.take_frame()? else {
                        return Ok(None);
                    };
                    match header.opcode {
                        OpCode::Text | OpCode::Binary
                            if header.fin && !header.deflated && !self.closing =>
                        {
                            let text = header.opcode == OpCode::Text;
                            return Ok(Some(Taken::Message { text, payload }));
                        }
                        OpCode::Close => return Ok(Some(Taken::Close(payload))),
                        _ => self.fruitless += 1,
                    }
                    if header.is_control() || payload.is_empty() && !header.fin {
                        self.empty += 1;
                    }
                    match header.opcode {
                        OpCode::Ping => return Ok(Some(Taken::Ping(payload))),
                        OpCode::Pong => return Ok(Some(Taken::Pong)),
                        _ if self.closing => {
                            self.assembler.skip(&header);
                            continue;
                        }
                        _ => {}
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
        let (mut header, seen) = match self.waiting {
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
            if self.closing && !header.is_control() {
                header.payload_len = end - self.buffer.len();
                self.taken = self.buffer.len();
                self.waiting = Some((header, 0));
                return Ok(None);
            }
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

    /// Reads more. Returns how much: nothing when the connection has ended or broken.
    async fn read(&mut self, account: &Account) -> Result<usize, ProtocolError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let Self {
            stream,
            buffer,
            waiting,
            assembler,
            counted,
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
            // No more of a large message, which would be moved for it.
            buffer.reserve(match buffer.len() > SMALL && missing > 0 {
                true => missing.min(buffer.len()),
                false => missing.clamp(READ, buffer.len().max(READ)),
            });
            count(counted, buffer.capacity() + assembler.held(), account)?;
            let polled = pin!(stream.read_buf(buffer)).poll(cx);
            if buffer.is_empty() {
                give_back(take(buffer));
            }
            let read = ready!(polled).unwrap_or_default();
            Poll::Ready(Ok(read))
        })
        .await
    }

    /// The memory that it holds, in bytes: what has come and has not been taken out, and the fragments of a message. A
    /// connection that waits for nothing holds none.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.capacity() + self.assembler.held()
    }

    fn count(&mut self, account: &Account) -> Result<(), ProtocolError> {
        let held = self.held();
        count(&mut self.counted, held, account)
    }

    /// From now on no messages are wanted, whole or not, but what the peer says at the end. What there is of one is let go.
    pub(super) fn leave_messages_aside(&mut self) {
        self.closing = true;
        self.assembler.let_go();
        if let Some((header, _)) = self.unfinished.take() {
            self.assembler.skip(&header);
        }
    }

    /// Reads and throws away what still comes, until the peer closes its side.
    pub(super) async fn discard(&mut self, account: &Account) {
        self.leave_messages_aside();
        self.waiting = None;
        loop {
            self.taken = self.buffer.len();
            if !matches!(self.read(account).await, Ok(1..)) {
                return;
            }
        }
    }
}

impl<S> Reader<Listened<S>> {
    /// See [`Listened::judge`].
    pub(super) fn judge(&self) -> Verdict {
        let is_at_work = self.unfinished.is_some() || self.fruitless >= AT_ONCE;
        self.stream.judge(is_at_work)
    }
}

/// Makes a buffer the thread's spare one, unless a large message has made it large.
fn give_back(buffer: Vec<u8>) {
    if (READ..=SMALL).contains(&buffer.capacity()) {
        SPARE.set(buffer);
    }
}

/// Counts what is held, when it is much.
fn count(
    counted: &mut Option<Box<Hold>>,
    held: usize,
    account: &Account,
) -> Result<(), ProtocolError> {
    let more = held.saturating_sub(SMALL) as u64;
    let has_room = match counted {
        Some(hold) if more > 0 => hold.resize(more),
        Some(_) => {
            *counted = None;
            true
        }
        None if more > 0 => {
            *counted = account.hold(Held::Receiving, more).map(Box::new);
            counted.is_some()
        }
        None => true,
    };
    match has_room {
        true => Ok(()),
        false => Err(ProtocolError::NoRoom),
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
