//! From frames to messages: fragments put together, and compressed ones inflated, within one bound.

use fastwebsockets::OpCode;

use super::decoder::{Header, ProtocolError};
use super::text::TextCheck;
use crate::deflate::Inflater;

/// Puts the fragments of a message together. A message that comes in one frame, as it is, never gets here.
pub(super) struct Assembler {
    max_message_bytes: usize,
    stage: Stage,
    text: bool,
    check: TextCheck,
    /// Whether the fragments are compressed.
    deflated: bool,
    payload: Vec<u8>,
    /// Inflates what is compressed; none when nothing may be.
    inflater: Option<Box<Inflater>>,
}

/// How far the message in hand is when a fragment has been added.
pub(super) enum Added {
    /// It lacks fragments.
    More,
    /// Nothing is missing.
    Whole,
    /// So many bytes at the end of the fragment have still to be inflated, in a turn of the tenant's.
    Rest(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// There is no message that has begun.
    Empty,
    /// There are fragments, and more to come.
    Begun,
    /// The message is whole, and is being handled.
    Whole,
}

impl Assembler {
    pub(super) fn new(max_message_bytes: usize, inflater: Option<Box<Inflater>>) -> Self {
        Self {
            max_message_bytes,
            stage: Stage::Empty,
            text: false,
            check: TextCheck::default(),
            deflated: false,
            payload: Vec::new(),
            inflater,
        }
    }

    /// Whether messages may be compressed.
    pub(super) fn inflates(&self) -> bool {
        self.inflater.is_some()
    }

    /// Whether a frame with this header may come now. Asked before its payload is read, so that one that is too large
    /// is never held.
    pub(super) fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        let begun = self.stage == Stage::Begun;
        let (held, deflated) = match header.opcode {
            OpCode::Continuation if begun => (self.payload.len(), self.deflated),
            OpCode::Continuation => return Err(ProtocolError::StrayContinuation),
            OpCode::Text | OpCode::Binary if begun => return Err(ProtocolError::NestedMessage),
            OpCode::Text | OpCode::Binary => (0, header.deflated),
            OpCode::Close | OpCode::Ping | OpCode::Pong => return Ok(()),
        };
        if let Some(inflater) = self.inflater.as_ref().filter(|_| deflated) {
            // What it inflates to is measured as it does.
            return match header.payload_len <= inflater.room() {
                true => Ok(()),
                false => Err(ProtocolError::MessageTooBig),
            };
        }
        match held.checked_add(header.payload_len) {
            Some(len) if len <= self.max_message_bytes => Ok(()),
            _ => Err(ProtocolError::MessageTooBig),
        }
    }

    /// Whether the payload of this header is text as it stands, not compressed.
    pub(super) fn is_text(&self, header: &Header) -> bool {
        match header.opcode {
            OpCode::Text => !header.deflated,
            OpCode::Continuation => self.text && !self.deflated,
            _ => false,
        }
    }

    /// Looks at text that is not all there yet, from `from` in the payload of this header on, so that what is none is
    /// refused before its end. The whole message is checked once more then.
    pub(super) fn look_at(
        &mut self,
        header: &Header,
        from: usize,
        piece: &[u8],
    ) -> Result<(), ProtocolError> {
        if header.opcode == OpCode::Text && from == 0 {
            self.check = TextCheck::default();
        }
        self.check.push(piece)
    }

    /// Adds a fragment that [`Assembler::check`] has let pass, of which [`Assembler::look_at`] has seen so much already.
    pub(super) fn add(
        &mut self,
        header: &Header,
        payload: &[u8],
        seen: usize,
    ) -> Result<Added, ProtocolError> {
        if header.opcode != OpCode::Continuation {
            self.text = header.opcode == OpCode::Text;
            self.deflated = header.deflated;
        }
        if self.deflated {
            if let Some(inflater) = &mut self.inflater {
                inflater.announce(payload.len());
            }
            return Ok(Added::Rest(payload.len()));
        }
        if self.text && !header.fin {
            self.look_at(header, seen, &payload[seen..])?;
        }
        self.payload.extend_from_slice(payload);
        Ok(self.added(header))
    }

    /// Inflates some of a compressed fragment that has been added, or of the rest of it.
    pub(super) fn inflate(
        &mut self,
        header: &Header,
        payload: &[u8],
    ) -> Result<Added, ProtocolError> {
        // There is one, or no header says that its message is compressed.
        if let Some(inflater) = &mut self.inflater {
            let inflated = inflater.inflate(payload, &mut self.payload)?;
            if inflated < payload.len() {
                return Ok(Added::Rest(payload.len() - inflated));
            }
            if header.fin {
                inflater.finish(&mut self.payload)?;
            }
        }
        Ok(self.added(header))
    }

    fn added(&mut self, header: &Header) -> Added {
        if header.fin {
            self.stage = Stage::Whole;
            Added::Whole
        } else {
            self.stage = Stage::Begun;
            Added::More
        }
    }

    /// Lets go of what there is of a message, more of which may come.
    pub(super) fn let_go(&mut self) {
        self.release();
        self.payload = Vec::new();
        if let Some(inflater) = &mut self.inflater {
            inflater.forget();
        }
    }

    /// Takes note of a fragment that [`Assembler::check`] has let pass and nobody wants.
    pub(super) fn skip(&mut self, header: &Header) {
        if header.opcode != OpCode::Continuation {
            self.deflated = header.deflated;
        }
        self.stage = match header.fin {
            true => Stage::Empty,
            false => Stage::Begun,
        };
    }

    /// The memory that the fragments take, in bytes.
    pub(super) fn held(&self) -> usize {
        self.payload.capacity()
    }

    /// The message that is whole: whether it is text, and its payload.
    pub(super) fn message(&self) -> (bool, &[u8]) {
        (self.text, &self.payload)
    }

    /// Lets go of a message that has been handled.
    pub(super) fn release(&mut self) {
        if self.stage == Stage::Whole {
            self.stage = Stage::Empty;
            self.payload = Vec::new();
        }
    }
}
