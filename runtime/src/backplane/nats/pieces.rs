//! Puts messages together that are too large for the broker.

use bytes::{Bytes, BytesMut};

use super::publication::Publication;
use crate::ids::NodeId;

/// Messages that may be unfinished at once; when there are more, the oldest will not be finished any more.
const MOST: usize = 16;

/// Unfinished messages, the oldest first.
#[derive(Default)]
pub struct Pieces(Vec<Unfinished>);

struct Unfinished {
    origin: NodeId,
    number: u64,
    next: u16,
    body: BytesMut,
}

/// What a piece has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// It was the last.
    Whole(Bytes),
    /// There are more to come, or it was there already.
    Waits,
    /// One before it is missing, or it is too much together.
    Lost,
}

impl Pieces {
    /// Takes a piece in. A message has `most` bytes at most.
    pub fn add(&mut self, piece: Publication, most: usize) -> Added {
        let Publication {
            origin,
            number,
            part,
            parts,
            body,
            ..
        } = piece;
        let is_it = |it: &Unfinished| (it.origin, it.number) == (origin, number);
        let place = match self.0.iter().position(is_it) {
            Some(place) => place,
            None if part == 0 => {
                if self.0.len() >= MOST {
                    self.0.remove(0);
                }
                self.0.push(Unfinished {
                    origin,
                    number,
                    next: 0,
                    body: BytesMut::new(),
                });
                self.0.len() - 1
            }
            None => return Added::Lost,
        };
        let unfinished = &mut self.0[place];
        if part < unfinished.next {
            return Added::Waits;
        }
        if part > unfinished.next || unfinished.body.len() + body.len() > most {
            self.0.remove(place);
            return Added::Lost;
        }
        unfinished.body.extend_from_slice(&body);
        unfinished.next += 1;
        match unfinished.next == parts {
            true => Added::Whole(self.0.remove(place).body.freeze()),
            false => Added::Waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: u64, part: u16, body: &'static [u8]) -> Publication {
        Publication {
            origin: NodeId::from_bytes([1; 4]),
            number,
            part,
            parts: 3,
            text: false,
            socket: None,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn pieces_become_a_message_also_between_others() {
        let mut pieces = Pieces::default();
        let mut add = |number, part, body| pieces.add(piece(number, part, body), 100);
        for number in [1, 2] {
            assert_eq!(add(number, 0, b"a"), Added::Waits);
        }
        // As when it comes by two subscriptions.
        assert_eq!(add(1, 0, b"a"), Added::Waits);
        assert_eq!(add(1, 1, b"b"), Added::Waits);
        assert_eq!(add(1, 2, b"c"), Added::Whole(Bytes::from_static(b"abc")));
        assert_eq!(add(1, 2, b"c"), Added::Lost);
        assert_eq!(add(2, 2, b"c"), Added::Lost);
        assert_eq!(add(2, 1, b"c"), Added::Lost);
    }

    #[test]
    fn there_are_bounds() {
        let mut pieces = Pieces::default();
        for number in 0..=MOST as u64 {
            assert_eq!(pieces.add(piece(number, 0, b"a"), 100), Added::Waits);
        }
        assert_eq!(pieces.0.len(), MOST);
        assert_eq!(pieces.add(piece(0, 1, b"b"), 100), Added::Lost);
        assert_eq!(pieces.add(piece(1, 1, b"bcd"), 3), Added::Lost);
    }
}
