//! A frame as it leaves: encoded once, shared by everybody it is sent to.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fastwebsockets::OpCode;

use crate::message::Message;
use crate::quota::{Account, Held as Counted, Hold};

/// The largest payload of a ping, pong or close frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a message that waits takes in memory beside its bytes.
const OVERHEAD: u64 = 128;

/// The bit of a header's first byte that says that it is the last frame of its message, as each here is.
const FIN: u8 = 0x80;
/// The one that says that the message is compressed (RFC 7692, section 6).
const RSV1: u8 = 0x40;

/// A whole unmasked WebSocket frame, header and payload. Cloning it copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

/// The close codes that the host itself sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The server is stopping. Come back later.
    GoingAway = 1001,
    /// The peer broke RFC 6455. A repetition will end the same way.
    ProtocolError = 1002,
    /// Text that is not UTF-8.
    InvalidPayload = 1007,
    /// The peer reads too slowly.
    PolicyViolation = 1008,
    /// A message over the size limit.
    MessageTooBig = 1009,
    /// The plugin failed.
    InternalError = 1011,
    /// The server cannot do what it is there for at the moment. Come back at once, to another one.
    ServiceRestart = 1012,
    /// There is no room for what the peer sends at the moment. Come back later.
    TryAgainLater = 1013,
}

/// Whether a close frame may carry that code (RFC 6455, section 7.4.1, and the registry it founded). 1016 to 2999 are
/// for future versions of the protocol, which this is not.
#[must_use]
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Bytes, and what is counted for as long as they are there.
struct Held {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Frame {
    /// A text or binary frame with the whole message.
    #[must_use]
    pub fn message(message: Message<'_>) -> Self {
        let opcode = match message {
            Message::Text(_) => OpCode::Text,
            Message::Binary(_) => OpCode::Binary,
        };
        Self::encode(FIN | opcode as u8, &[message.payload()])
    }

    /// The same, and counted as waiting until its last copy is dropped; none when its account has no room for it.
    #[must_use]
    pub fn counted(message: Message<'_>, account: &Account) -> Option<Self> {
        if !account.bounds(Counted::Queued) {
            return Some(Self::message(message));
        }
        let bytes = message.payload().len() as u64 + OVERHEAD;
        let hold = account.hold(Counted::Queued, bytes)?;
        Some(Self::message(message).holding(hold))
    }

    /// The same frame, with something to let go with its last copy.
    #[must_use]
    pub(super) fn holding(self, hold: Hold) -> Self {
        let held = Held {
            bytes: self.0,
            _hold: hold,
        };
        Self(Bytes::from_owner(held))
    }

    /// The frame of a compressed message. `opcode` is what [`Frame::uncompressed`] has given.
    #[must_use]
    pub(super) fn compressed(opcode: u8, payload: &[u8]) -> Self {
        Self::encode(FIN | RSV1 | opcode, &[payload])
    }

    /// The opcode and the payload of the frame of a message; none when it is another, or compressed.
    #[must_use]
    pub fn uncompressed(&self) -> Option<(u8, &[u8])> {
        let &[first, length, ref rest @ ..] = &*self.0 else {
            return None;
        };
        let opcode = first & !FIN;
        if opcode != OpCode::Text as u8 && opcode != OpCode::Binary as u8 {
            return None;
        }
        let extended = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        Some((opcode, rest.get(extended..)?))
    }

    /// A ping. The payload is cut to 125 bytes.
    #[must_use]
    pub fn ping(payload: &[u8]) -> Self {
        Self::encode(
            FIN | OpCode::Ping as u8,
            &[&payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]],
        )
    }

    /// A pong. The payload is cut to 125 bytes.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::encode(
            FIN | OpCode::Pong as u8,
            &[&payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]],
        )
    }

    /// A close frame. The reason is cut to 123 bytes, between characters. No code: an empty close frame.
    #[must_use]
    pub fn close(code: Option<u16>, reason: &str) -> Self {
        let Some(code) = code else {
            return Self::encode(FIN | OpCode::Close as u8, &[]);
        };
        let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - 2)];
        Self::encode(
            FIN | OpCode::Close as u8,
            &[&code.to_be_bytes(), reason.as_bytes()],
        )
    }

    fn encode(first: u8, parts: &[&[u8]]) -> Self {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        // Exactly as much as is needed: so it is one allocation, and stays one while there is one receiver.
        let header = match len {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        let mut bytes = BytesMut::with_capacity(header + len);
        bytes.put_u8(first);
        // The match guarantees that each length fits.
        match len {
            0..=125 => bytes.put_u8(len as u8),
            126..=0xffff => {
                bytes.put_u8(126);
                bytes.put_u16(len as u16);
            }
            _ => {
                bytes.put_u8(127);
                bytes.put_u64(len as u64);
            }
        }
        for part in parts {
            bytes.put_slice(part);
        }
        Self(bytes.freeze())
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.0.len()
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Leaves out the first `written` bytes, which are written already.
    ///
    /// # Panics
    /// There are not as many.
    pub fn skip(&mut self, written: usize) {
        self.0.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_the_smallest_form_that_fits() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (0xffff, vec![0x82, 126, 0xff, 0xff]),
            (0x1_0000, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![7; len];
            let bytes = Frame::message(Message::Binary(&payload));
            let bytes = bytes.as_bytes();
            assert_eq!(bytes[..header.len()], header, "length {len}");
            assert_eq!(bytes[header.len()..], payload, "length {len}");
        }
    }

    #[test]
    fn only_messages_are_compressed_and_only_once() {
        for len in [0, 125, 126, 0x1_0000] {
            let payload = vec![7; len];
            let plain = Frame::message(Message::Binary(&payload));
            assert_eq!(plain.uncompressed(), Some((2, &payload[..])), "{len}");
            let compressed = Frame::compressed(2, &payload);
            assert_eq!(compressed.as_bytes()[0], 0xc2);
            assert_eq!(compressed.as_bytes()[1..], plain.as_bytes()[1..]);
            assert_eq!(compressed.uncompressed(), None);
        }
        let text = Frame::message(Message::Text("hi"));
        assert_eq!(text.uncompressed(), Some((1, &b"hi"[..])));
        for control in [
            Frame::ping(b"hi"),
            Frame::pong(b"hi"),
            Frame::close(Some(1000), "hi"),
        ] {
            assert_eq!(control.uncompressed(), None);
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let frame = Frame::close(Some(4000), &"ü".repeat(62));
        assert_eq!(frame.wire_len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame.as_bytes()[4..]).is_ok());
        let whole = Frame::close(Some(4000), &"x".repeat(123));
        assert_eq!(whole.wire_len(), 2 + 2 + 123);
    }
}
