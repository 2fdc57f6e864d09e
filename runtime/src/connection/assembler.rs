//! From frames to messages: fragments put together within one bound.

use bytes::BytesMut;
use fastwebsockets::OpCode;

use super::decoder::{Frame, Header, ProtocolError};
use crate::message::Message;

/// Puts the fragments of a message together.
pub(super) struct Assembler {
    max_message_bytes: usize,
    /// The message that has begun and not ended.
    begun: Option<Assembled>,
}

/// A whole message.
pub(super) struct Assembled {
    text: bool,
    payload: BytesMut,
}

impl Assembled {
    /// What is in it.
    pub(super) fn content(&self) -> Result<Message<'_>, ProtocolError> {
        if self.text {
            std::str::from_utf8(&self.payload)
                .map(Message::Text)
                .map_err(|_| ProtocolError::InvalidText)
        } else {
            Ok(Message::Binary(&self.payload))
        }
    }
}

impl Assembler {
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            begun: None,
        }
    }

    /// Whether a frame with this header may come now. Asked before its payload is read, so that one that is too large
    /// is never held.
    pub(super) fn check(&self, header: &Header) -> Result<(), ProtocolError> {
        let held = match (header.opcode, &self.begun) {
            (OpCode::Continuation, None) => return Err(ProtocolError::StrayContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(ProtocolError::NestedMessage),
            (OpCode::Continuation, Some(begun)) => begun.payload.len(),
            (OpCode::Text | OpCode::Binary, None) => 0,
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => return Ok(()),
        };
        match held.checked_add(header.payload_len) {
            Some(len) if len <= self.max_message_bytes => Ok(()),
            _ => Err(ProtocolError::MessageTooBig),
        }
    }

    /// Adds a data frame that [`Assembler::check`] has let pass. Returns the message when it is whole.
    pub(super) fn add(&mut self, frame: Frame) -> Option<Assembled> {
        let message = match self.begun.take() {
            Some(mut begun) => {
                begun.payload.extend_from_slice(&frame.payload);
                begun
            }
            None => Assembled {
                text: frame.opcode == OpCode::Text,
                payload: frame.payload,
            },
        };
        if frame.fin {
            return Some(message);
        }
        self.begun = Some(message);
        None
    }
}
