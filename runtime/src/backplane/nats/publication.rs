//! A message on its way between nodes: a head of fixed length, then the bytes of the message.

use bytes::{BufMut, Bytes};
use fastwebsockets::OpCode;

use crate::ids::{NodeId, SocketId};

/// The version of this form. Nodes of another one are not understood, and say so.
const VERSION: u8 = 1;
/// The length of the head.
pub(super) const HEAD: usize = 38;

/// A message on its way between nodes, or a piece of one that is too large for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication<B = Bytes> {
    /// The node that sends it.
    pub origin: NodeId,
    /// Counts what the node sends to the namespace; pieces of one message have the same number.
    pub number: u64,
    /// Which piece it is.
    pub part: u16,
    /// Of how many.
    pub parts: u16,
    /// Whether it is text.
    pub text: bool,
    /// The socket that it is for, or in a room the one that it is not for.
    pub socket: Option<SocketId>,
    /// Its bytes.
    pub body: B,
}

impl<B: AsRef<[u8]>> Publication<B> {
    /// Its bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = self.body.as_ref();
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        let opcode = match self.text {
            true => OpCode::Text,
            false => OpCode::Binary,
        };
        bytes.put_u8(VERSION);
        bytes.put_u8(opcode as u8);
        bytes.put_slice(&self.origin.to_bytes());
        bytes.put_u64(self.number);
        bytes.put_u16(self.part);
        bytes.put_u16(self.parts);
        let socket = self
            .socket
            .map_or([0; SocketId::LENGTH], SocketId::to_bytes);
        bytes.put_slice(&socket);
        bytes.put_slice(body);
        bytes
    }
}

impl Publication {
    /// What these bytes say; none when they are nothing that a node of this version sends.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<HEAD>()?;
        let [VERSION, opcode, rest @ ..] = head else {
            return None;
        };
        let text = match *opcode {
            opcode if opcode == OpCode::Text as u8 => true,
            opcode if opcode == OpCode::Binary as u8 => false,
            _ => return None,
        };
        let (origin, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (part, rest) = rest.split_first_chunk()?;
        let (parts, rest) = rest.split_first_chunk()?;
        let (socket, _) = rest.split_first_chunk()?;
        let publication = Self {
            origin: NodeId::from_bytes(*origin),
            number: u64::from_be_bytes(*number),
            part: u16::from_be_bytes(*part),
            parts: u16::from_be_bytes(*parts),
            text,
            socket: (*socket != [0; SocketId::LENGTH]).then(|| SocketId::from_bytes(*socket)),
            body: bytes.slice(HEAD..),
        };
        (publication.part < publication.parts).then_some(publication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication() -> Publication {
        let origin = NodeId::random().unwrap();
        Publication {
            origin,
            number: 7,
            part: 1,
            parts: 3,
            text: true,
            socket: Some(SocketId::random(origin).unwrap()),
            body: Bytes::from_static(b"hello"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let whole = publication();
        let bytes = Bytes::from(whole.encode());
        assert_eq!(bytes.len(), HEAD + 5);
        assert_eq!(Publication::decode(&bytes), Some(whole.clone()));
        let nobody = Publication {
            socket: None,
            text: false,
            ..whole
        };
        assert_eq!(Publication::decode(&nobody.encode().into()), Some(nobody));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bytes = Bytes::from(publication().encode());
        for length in 0..HEAD {
            assert_eq!(Publication::decode(&bytes.slice(..length)), None);
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            Publication::decode(&bytes.into())
        };
        assert_eq!(with(0, 2), None, "another version");
        assert_eq!(with(1, 8), None, "a close frame");
        assert_eq!(with(15, 3), None, "the fourth piece of three");
        assert_eq!(with(17, 0), None, "no pieces");
    }
}
