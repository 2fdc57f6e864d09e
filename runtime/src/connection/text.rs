//! Whether text is UTF-8, told while it is still coming.

use super::decoder::ProtocolError;

/// Checks text in pieces, which may end within a character.
#[derive(Default)]
pub(super) struct TextCheck {
    /// The character that has begun.
    begun: [u8; 4],
    /// How much of it there is, at most three bytes.
    len: u8,
}

impl TextCheck {
    /// Looks at the next piece.
    ///
    /// # Errors
    /// Whatever follows, it is no UTF-8.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            let len = usize::from(self.len);
            self.begun[len] = byte;
            self.len = unfinished(&self.begun[..=len])?.len() as u8;
            piece = rest;
        }
        let rest = unfinished(piece)?;
        self.len = rest.len() as u8;
        self.begun[..rest.len()].copy_from_slice(rest);
        Ok(())
    }
}

/// The character at the end that is not all there.
fn unfinished(piece: &[u8]) -> Result<&[u8], ProtocolError> {
    match std::str::from_utf8(piece) {
        Ok(_) => Ok(&[]),
        Err(error) if error.error_len().is_none() => Ok(&piece[error.valid_up_to()..]),
        Err(_) => Err(ProtocolError::InvalidText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many bytes it is known that this is no text; none when it may be the beginning of some.
    fn refused_after(bytes: &[u8], piece: usize) -> Option<usize> {
        let mut check = TextCheck::default();
        let mut pieces = bytes.chunks(piece);
        let at = pieces.position(|piece| check.push(piece).is_err())?;
        Some((at + 1) * piece)
    }

    #[test]
    fn c8_text_may_be_cut_anywhere() {
        let text = "κόσμε ö€😀 \u{0}\u{7f}\u{7ff}\u{800}\u{ffff}\u{10ffff} häppchen".as_bytes();
        for piece in 1..=text.len() {
            assert_eq!(refused_after(text, piece), None, "{piece}");
        }
    }

    #[test]
    fn c8_what_is_no_text_is_refused_at_the_byte_that_makes_it_so() {
        for (bytes, known) in [
            (&b"\xff"[..], 1),
            (b"valid \x80", 7),
            (b"\xc0\xaf", 1),
            (b"\xe0\x80\xaf", 2),
            (b"\xed\xa0\x80", 2),
            (b"\xf4\x90\x80\x80", 2),
            (b"\xf5", 1),
            (b"cut \xe2\x82 off", 7),
            (
                b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80",
                13,
            ),
        ] {
            assert_eq!(refused_after(bytes, 1), Some(known), "{bytes:x?}");
            for piece in 2..=bytes.len() {
                assert!(refused_after(bytes, piece).is_some(), "{bytes:x?}, {piece}");
            }
        }
    }
}
