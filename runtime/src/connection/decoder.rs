//! From bytes to frames (RFC 6455, section 5).
//!
//! It neither reads nor waits: it looks at what has been read and says what it is or what is missing, so that a reader
//! can be interrupted at any point. fastwebsockets' own reader can not be, reserves a payload's memory from its header
//! alone, lets unmasked frames pass and keeps 8 KiB per connection; its unmasking serves here.

use fastwebsockets::OpCode;

use crate::deflate::InflateError;
use crate::hub::{CloseCode, MAX_CONTROL_PAYLOAD, is_sendable};

/// The bit that says that a message is compressed, in the header of its first frame (RFC 7692, section 6).
const RSV1: u8 = 0x40;

/// What is known when a header has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// Whether a compressed message begins with it (RFC 7692, section 6).
    pub(super) deflated: bool,
    pub(super) opcode: OpCode,
    pub(super) payload_len: usize,
    mask: [u8; 4],
}

/// How a peer broke the protocol or a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An extension's bit without an extension, or where the extension does not set it.
    #[error("Reserved bits are set")]
    ReservedBits,
    /// An opcode that means nothing.
    #[error("Unknown opcode")]
    UnknownOpcode,
    /// A client's frame has to be masked.
    #[error("Frame is not masked")]
    NotMasked,
    /// A length that a shorter form would hold, or one over 63 bits.
    #[error("Invalid length")]
    InvalidLength,
    /// A control frame in pieces.
    #[error("Control frame is fragmented")]
    FragmentedControl,
    /// A control frame over 125 bytes.
    #[error("Control frame is too large")]
    LargeControl,
    /// A continuation of nothing.
    #[error("Continuation without a beginning")]
    StrayContinuation,
    /// A new message in the middle of another.
    #[error("Message inside a fragmented message")]
    NestedMessage,
    /// A close frame of one byte, or with a code that may not be sent.
    #[error("Invalid close frame")]
    InvalidClose,
    /// Text that is not UTF-8.
    #[error("Invalid UTF-8")]
    InvalidText,
    /// A message over `limits.max-message-bytes`.
    #[error("Message is too big")]
    MessageTooBig,
    /// A compressed message that inflates to more than `sockets.compression-ratio` times its size.
    #[error("Message inflates to too much")]
    MessageTooDense,
    /// A message for which there is no room, see `limits.receiving-bytes`.
    #[error("No room for the message")]
    NoRoom,
    /// A compressed message that cannot be inflated.
    #[error("Invalid compressed data")]
    InvalidDeflate,
}

impl From<InflateError> for ProtocolError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Invalid => Self::InvalidDeflate,
            InflateError::TooBig => Self::MessageTooBig,
            InflateError::TooDense => Self::MessageTooDense,
        }
    }
}

impl ProtocolError {
    /// The code that the connection is closed with for it.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            // RFC 7692 names no code for what cannot be inflated. It is not of the message's type, as text that is not UTF-8.
            Self::InvalidText | Self::InvalidDeflate => CloseCode::InvalidPayload,
            Self::MessageTooBig | Self::MessageTooDense => CloseCode::MessageTooBig,
            Self::NoRoom => CloseCode::TryAgainLater,
            _ => CloseCode::ProtocolError,
        }
    }
}

impl Header {
    /// The header at the front of `bytes` and its length; none while it is not all there. `deflate`: whether messages may
    /// be compressed.
    pub(super) fn parse(
        bytes: &[u8],
        deflate: bool,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let fin = first & 0x80 != 0;
        let reserved = first & 0x70;
        if reserved != 0 && !(reserved == RSV1 && deflate && matches!(first & 0x0f, 1 | 2)) {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| ProtocolError::UnknownOpcode)?;
        if second & 0x80 == 0 {
            return Err(ProtocolError::NotMasked);
        }
        let short = second & 0x7f;
        if matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong) {
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if usize::from(short) > MAX_CONTROL_PAYLOAD {
                return Err(ProtocolError::LargeControl);
            }
        }
        let (payload_len, smallest, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from(u16::from_be_bytes(len)), 126, rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from_be_bytes(len), 0x1_0000, rest),
                None => return Ok(None),
            },
            _ => (u64::from(short), 0, rest),
        };
        if payload_len < smallest || payload_len >> 63 != 0 {
            return Err(ProtocolError::InvalidLength);
        }
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            fin,
            deflated: reserved != 0,
            opcode,
            payload_len: usize::try_from(payload_len).map_err(|_| ProtocolError::MessageTooBig)?,
            mask,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Whether it is of a frame that is no part of a message.
    pub(super) fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }

    /// Unmasks the payload of this header's frame, where it is, from the byte `from` on.
    pub(super) fn unmask(&self, payload: &mut [u8], from: usize) {
        let mut mask = self.mask;
        mask.rotate_left(from % 4);
        fastwebsockets::unmask(&mut payload[from..], mask);
    }
}

/// The code and the reason of a close frame; no code when it is empty.
pub(super) fn parse_close(payload: &[u8]) -> Result<(Option<u16>, &str), ProtocolError> {
    if payload.is_empty() {
        return Ok((None, ""));
    }
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return Err(ProtocolError::InvalidClose);
    };
    let code = u16::from_be_bytes(code);
    if !is_sendable(code) {
        return Err(ProtocolError::InvalidClose);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidText)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
        Header::parse(bytes, false)
    }

    #[test]
    fn c8_a_header_that_comes_byte_by_byte_is_the_header() {
        for (whole, payload_len) in [
            (&[0x81, 0x85, 1, 2, 3, 4][..], 5),
            (&[0x82, 0xfe, 0, 126, 1, 2, 3, 4], 126),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 0x1_0000),
        ] {
            for len in 0..whole.len() {
                assert!(
                    header(&whole[..len]).unwrap().is_none(),
                    "{len} of {whole:?}"
                );
            }
            let (found, len) = header(whole).unwrap().unwrap();
            assert_eq!((found.payload_len, len), (payload_len, whole.len()));
            for from in 0..=5 {
                let mut payload = *b"igohn";
                payload[..from].copy_from_slice(&b"hello"[..from]);
                found.unmask(&mut payload, from);
                assert_eq!(&payload, b"hello");
            }
        }
    }

    #[test]
    fn c8_what_a_client_must_not_send_is_refused() {
        for (bytes, error) in [
            (&[0xc1, 0x80][..], ProtocolError::ReservedBits),
            (&[0x83, 0x80], ProtocolError::UnknownOpcode),
            (&[0x81, 0x05], ProtocolError::NotMasked),
            (&[0x09, 0x80], ProtocolError::FragmentedControl),
            (&[0x89, 0x80 | 126], ProtocolError::LargeControl),
            (&[0x88, 0x80 | 127], ProtocolError::LargeControl),
            (
                &[0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0],
                ProtocolError::InvalidLength,
            ),
            (
                &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
                ProtocolError::InvalidLength,
            ),
            (
                &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                ProtocolError::InvalidLength,
            ),
        ] {
            assert_eq!(header(bytes).unwrap_err(), error, "{bytes:?}");
        }
    }

    #[test]
    fn c8_the_bit_of_compression_stands_where_a_compressed_message_begins_and_nowhere_else() {
        for (first, good) in [
            (0xc1, true),
            (0xc2, true),
            (0x41, true),
            (0xc0, false),
            (0x40, false),
            (0xc8, false),
            (0xc9, false),
            (0xca, false),
            (0xe1, false),
            (0xd1, false),
            (0xa1, false),
        ] {
            let bytes = [first, 0x80, 0, 0, 0, 0];
            let deflated =
                |deflate| Header::parse(&bytes, deflate).map(|found| found.unwrap().0.deflated);
            let refused = Err(ProtocolError::ReservedBits);
            assert_eq!(
                deflated(true),
                if good { Ok(true) } else { refused },
                "{first:x}"
            );
            assert_eq!(deflated(false), refused, "{first:x}");
        }
        let plain = Header::parse(&[0x81, 0x80, 0, 0, 0, 0], true)
            .unwrap()
            .unwrap();
        assert!(!plain.0.deflated);
    }

    #[test]
    fn c8_close_frames_are_checked() {
        assert_eq!(parse_close(&[]), Ok((None, "")));
        assert_eq!(parse_close(&[3]), Err(ProtocolError::InvalidClose));
        assert_eq!(parse_close(b"\x0f\xa0bye"), Ok((Some(4000), "bye")));
        assert_eq!(
            parse_close(b"\x03\xe8\xff"),
            Err(ProtocolError::InvalidText)
        );
        let refused = |code: u16| parse_close(&code.to_be_bytes()).is_err();
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert!(refused(code), "{code}");
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(!refused(code), "{code}");
        }
    }
}
