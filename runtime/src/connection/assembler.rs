//! From frames to messages: fragments put together within one bound.

use fastwebsockets::OpCode;

use super::decoder::{Header, ProtocolError};
use super::text::TextCheck;

/// Puts the fragments of a message together. A message that comes in one frame never gets here.
pub(super) struct Assembler {
    max_message_bytes: usize,
    stage: Stage,
    text: bool,
    check: TextCheck,
    payload: Vec<u8>,
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
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            stage: Stage::Empty,
            text: false,
            check: TextCheck::default(),
            payload: Vec::new(),
        }
    }

    /// Whether a frame with this header may come now. Asked before its payload is read, so that one that is too large
    /// is never held.
    pub(super) fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        let begun = self.stage == Stage::Begun;
        let held = match header.opcode {
            OpCode::Continuation if begun => self.payload.len(),
            OpCode::Continuation => return Err(ProtocolError::StrayContinuation),
            OpCode::Text | OpCode::Binary if begun => return Err(ProtocolError::NestedMessage),
            OpCode::Text | OpCode::Binary => 0,
            OpCode::Close | OpCode::Ping | OpCode::Pong => return Ok(()),
        };
        match held.checked_add(header.payload_len) {
            Some(len) if len <= self.max_message_bytes => Ok(()),
            _ => Err(ProtocolError::MessageTooBig),
        }
    }

    /// Whether the payload of this header is text.
    pub(super) fn is_text(&self, header: &Header) -> bool {
        match header.opcode {
            OpCode::Text => true,
            OpCode::Continuation => self.text,
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
    /// Returns whether the message is whole.
    pub(super) fn add(
        &mut self,
        header: &Header,
        payload: &[u8],
        seen: usize,
    ) -> Result<bool, ProtocolError> {
        if header.opcode != OpCode::Continuation {
            self.text = header.opcode == OpCode::Text;
        }
        if self.text && !header.fin {
            self.look_at(header, seen, &payload[seen..])?;
        }
        self.payload.extend_from_slice(payload);
        self.stage = if header.fin {
            Stage::Whole
        } else {
            Stage::Begun
        };
        Ok(header.fin)
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
