//! From frames to messages: fragments put together within one bound.

use fastwebsockets::OpCode;

use super::decoder::{Header, ProtocolError};

/// Puts the fragments of a message together. A message that comes in one frame never gets here.
pub(super) struct Assembler {
    max_message_bytes: usize,
    stage: Stage,
    text: bool,
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

    /// Adds a fragment that [`Assembler::check`] has let pass. Returns whether the message is whole.
    pub(super) fn add(&mut self, header: &Header, payload: &[u8]) -> bool {
        if header.opcode != OpCode::Continuation {
            self.text = header.opcode == OpCode::Text;
        }
        self.payload.extend_from_slice(payload);
        self.stage = if header.fin {
            Stage::Whole
        } else {
            Stage::Begun
        };
        header.fin
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
