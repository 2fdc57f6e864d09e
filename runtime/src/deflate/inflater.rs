//! Taking compressed messages apart as they come, within bounds that hold meanwhile.

use std::cell::Cell;

use flate2::{Decompress, FlushDecompress, Status};

use super::{History, Side};

/// How much is inflated at once, in compressed bytes and in bytes that they inflate to, about. Whatever it is, that takes a
/// millisecond or two at most.
const PIECE: usize = 16 << 10;
const INFLATED_PIECE: usize = 1 << 20;
/// What a message may inflate to however small it is, in bytes.
const SMALL: usize = 64 << 10;
/// Room for output at first, in bytes.
const ROOM: usize = 256;

/// What a sender leaves out of the end of a message (RFC 7692, section 7.2.2); and behind it a last block of nothing, of
/// which zlib says that the stream has ended, unless the message was cut off within one of its blocks.
const END: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

thread_local! {
    /// Between two messages nobody needs one: it is 47 KiB, most of which is a copy of the history.
    static SPARE: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is not what RFC 1951 describes, or it is cut off.
    #[error("not compressed as agreed")]
    Invalid,
    /// It inflates to more than a message may have.
    #[error("too large")]
    TooBig,
    /// It inflates to more than so many times its size.
    #[error("inflates to too much")]
    TooDense,
}

/// Inflates the messages of one client.
pub struct Inflater {
    max_message_bytes: usize,
    ratio: usize,
    /// What the client may refer to; none when it has agreed not to refer to earlier messages.
    history: Option<History>,
    /// Only while there is a message that has begun.
    stream: Option<Decompress>,
    /// How many compressed bytes of the message have come.
    deflated: usize,
}

impl Inflater {
    /// For a client that compresses as agreed. Its messages are `max_message_bytes` at most, and over 64 KiB no more than
    /// `ratio` times their compressed size.
    #[must_use]
    pub fn new(client: Side, max_message_bytes: usize, ratio: usize) -> Self {
        let history = client
            .takeover
            .then(|| History::of_received(client.window_bits));
        Self {
            max_message_bytes,
            ratio,
            history,
            stream: None,
            deflated: 0,
        }
    }

    /// How many bytes more of the message in hand there may come, still compressed. Compressing makes some messages longer:
    /// by an eighth with the simplest of compressors.
    #[must_use]
    pub fn room(&self) -> usize {
        let most = self.max_message_bytes / 8 + 64;
        most.saturating_add(self.max_message_bytes)
            .saturating_sub(self.deflated)
    }

    /// That so many more compressed bytes of the message have come. They are what it is measured by, how much it may inflate
    /// to.
    pub fn announce(&mut self, bytes: usize) {
        self.deflated = self.deflated.saturating_add(bytes);
    }

    /// Inflates the front of `input` to the end of `output`, where what came before of the message is. Returns how many
    /// bytes of `input` that were. The caller lets others have the thread before it goes on.
    ///
    /// # Errors
    /// The message is not taken, and there can be no other behind it.
    pub fn inflate(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, InflateError> {
        let piece = &input[..input.len().min(PIECE)];
        let (consumed, _) = self.run(piece, output)?;
        Ok(consumed)
    }

    /// The message is whole.
    ///
    /// # Errors
    /// The message is not taken, and there can be no other behind it.
    pub fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), InflateError> {
        // Nothing at all is no stream, but some compressors make that of an empty message, flushing twice in a row.
        if self.deflated > 0 && self.run(&END, output)? != (END.len(), Status::StreamEnd) {
            return Err(InflateError::Invalid);
        }
        self.deflated = 0;
        SPARE.set(self.stream.take());
        if let Some(history) = &mut self.history {
            history.append(output);
        }
        Ok(())
    }

    /// Nobody wants the message in hand, nor any other behind it.
    pub fn forget(&mut self) {
        self.deflated = 0;
        self.stream = None;
    }

    /// Inflates `input`, unless it is very much that comes out. Returns how many bytes of it that were, and how the stream
    /// stands behind them.
    fn run(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(usize, Status), InflateError> {
        let allowed = self.ratio.saturating_mul(self.deflated).max(SMALL);
        let limit = allowed.min(self.max_message_bytes);
        let history = self.history.as_ref();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = SPARE.take().unwrap_or_else(|| Decompress::new(false));
                let stream = none.insert(stream);
                stream.reset(false);
                if let Some(history) = history.filter(|history| !history.is_empty()) {
                    stream
                        .set_dictionary(history.as_bytes())
                        .map_err(|_| InflateError::Invalid)?;
                }
                stream
            }
        };
        let enough = output.len() + INFLATED_PIECE;
        let mut consumed = 0;
        loop {
            make_room(output, limit, self.deflated);
            let before = stream.total_in();
            let status = stream
                .decompress_vec(&input[consumed..], output, FlushDecompress::Sync)
                .map_err(|_| InflateError::Invalid)?;
            // No more than there was.
            consumed += (stream.total_in() - before) as usize;
            if output.len() > limit {
                return Err(match limit < self.max_message_bytes {
                    true => InflateError::TooDense,
                    false => InflateError::TooBig,
                });
            }
            let all = consumed == input.len();
            match status {
                Status::StreamEnd if all => return Ok((consumed, status)),
                // Some compressors end their stream with the message, and begin another for the rest of it (RFC 7692,
                // section 7.2.3.4). That one knows nothing of what was before.
                Status::StreamEnd => stream.reset(false),
                // It has stopped for want of room.
                _ if output.len() == output.capacity() => {
                    if output.len() >= enough && !all {
                        return Ok((consumed, status));
                    }
                }
                _ if all => return Ok((consumed, status)),
                _ => return Err(InflateError::Invalid),
            }
        }
    }
}

/// Makes room for more output: as much again as there is, up to a piece, so that it is not copied too often; and never more
/// than one byte past the limit, by which is seen that there is more.
fn make_room(output: &mut Vec<u8>, limit: usize, deflated: usize) {
    let len = output.len();
    if len == output.capacity() {
        let most = limit.saturating_add(1).max(len);
        let more = len.max(deflated).clamp(ROOM, INFLATED_PIECE);
        output.reserve_exact(more.min(most - len));
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    const MOST: usize = 1 << 20;

    fn inflater(takeover: bool, ratio: usize) -> Inflater {
        let side = Side {
            window_bits: 15,
            takeover,
        };
        Inflater::new(side, MOST, ratio)
    }

    /// What a client's own compressor makes of a message.
    fn deflated(compressor: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(message.len() + 1000);
        compressor
            .compress_vec(message, &mut output, FlushCompress::Sync)
            .unwrap();
        // A flush behind a flush gives nothing.
        output.truncate(output.len().saturating_sub(4));
        output
    }

    fn alone(message: &[u8]) -> Vec<u8> {
        deflated(&mut Compress::new(Compression::best(), false), message)
    }

    /// A message in fragments.
    fn inflate(inflater: &mut Inflater, fragments: &[&[u8]]) -> Result<Vec<u8>, InflateError> {
        let mut output = Vec::new();
        for fragment in fragments {
            inflater.announce(fragment.len());
            let mut rest = *fragment;
            while !rest.is_empty() {
                rest = &rest[inflater.inflate(rest, &mut output)?..];
            }
        }
        inflater.finish(&mut output)?;
        assert!(output.capacity() <= MOST + 1);
        Ok(output)
    }

    fn words(from: usize, to: usize) -> Vec<u8> {
        let words: String = (from..to).map(|n| format!("word {n} ")).collect();
        words.into_bytes()
    }

    #[test]
    fn messages_come_back_whatever_their_fragments_are() {
        for takeover in [true, false] {
            let mut inflater = inflater(takeover, 100);
            let mut compressor = Compress::new(Compression::best(), false);
            for (from, to) in [(0, 1), (0, 100), (50, 20_000), (3, 3), (7, 500)] {
                let message = words(from, to);
                for pieces in [1, 2, 7, 1000] {
                    if !takeover {
                        compressor.reset();
                    }
                    let compressed = deflated(&mut compressor, &message);
                    let fragments: Vec<_> = compressed
                        .chunks(compressed.len().div_ceil(pieces).max(1))
                        .flat_map(|fragment| [fragment, b""])
                        .collect();
                    assert!(
                        inflate(&mut inflater, &fragments).unwrap() == message,
                        "{from} {to}"
                    );
                }
            }
        }
    }

    #[test]
    fn nobody_refers_to_earlier_messages_who_has_agreed_not_to() {
        let mut compressor = Compress::new(Compression::best(), false);
        let [first, second] = [0; 2].map(|_| deflated(&mut compressor, &words(0, 100)));
        for takeover in [true, false] {
            let mut inflater = inflater(takeover, 100);
            assert!(inflate(&mut inflater, &[&first]).is_ok());
            assert_eq!(inflate(&mut inflater, &[&second]).is_ok(), takeover);
        }
    }

    #[test]
    fn a_message_may_have_so_many_bytes_and_not_one_more() {
        let mut inflater = inflater(true, 100_000);
        let most = vec![b' '; MOST];
        assert!(inflate(&mut inflater, &[&alone(&most)]).unwrap() == most);
        let more = alone(&vec![b' '; MOST + 1]);
        assert_eq!(inflate(&mut inflater, &[&more]), Err(InflateError::TooBig));
    }

    #[test]
    fn c8_a_bomb_ends_at_the_limit_and_takes_no_more_memory() {
        let mut inflater = inflater(true, usize::MAX);
        // Each of them a MiB of zeros.
        let kibibyte = alone(&vec![0; 1 << 20]);
        let mut bomb = Vec::new();
        while bomb.len() < 1 << 20 {
            bomb.extend_from_slice(&kibibyte);
            bomb.extend_from_slice(&END[..4]);
        }
        let mut output = Vec::new();
        inflater.announce(bomb.len());
        let mut rest = &bomb[..];
        let error = loop {
            let before = output.len();
            match inflater.inflate(rest, &mut output) {
                Ok(consumed) => rest = &rest[consumed..],
                Err(error) => break error,
            }
            assert!(output.len() <= before + INFLATED_PIECE);
        };
        assert_eq!(error, InflateError::TooBig);
        assert_eq!(output.capacity(), MOST + 1);
    }

    #[test]
    fn over_64_kib_a_message_may_inflate_so_many_times_and_not_more() {
        // Noise and then zeros: so many bytes of them that it is just allowed, by trying.
        let message = |zeros| [words(0, 2000), vec![0; zeros]].concat();
        let ratio = |zeros| {
            let message = message(zeros);
            message.len().div_ceil(alone(&message).len())
        };
        for zeros in [100_000, 200_000, 900_000] {
            let ratio = ratio(zeros);
            let compressed = alone(&message(zeros));
            let inflated = |ratio| inflate(&mut inflater(true, ratio), &[&compressed]);
            assert!(inflated(ratio).is_ok(), "{zeros}");
            assert_eq!(inflated(ratio - 1), Err(InflateError::TooDense), "{zeros}");
        }
        let small = vec![0; SMALL];
        assert!(inflate(&mut inflater(true, 1), &[&alone(&small)]).unwrap() == small);
        let larger = alone(&vec![0; SMALL + 1]);
        let refused = inflate(&mut inflater(true, 1), &[&larger]);
        assert_eq!(refused, Err(InflateError::TooDense));
    }

    #[test]
    fn c8_what_is_not_compressed_is_refused() {
        let whole = alone(&words(0, 100));
        for (what, garbage) in [
            ("a block of the kind that there is not", &[0xff; 20][..]),
            ("lengths of a stored block that differ", &[0, 5, 0, 5, 0]),
            (
                "a reference to before the beginning",
                &[0x4b, 0x84, 0x13, 0],
            ),
            ("text", b"not compressed at all"),
            ("one that is cut off", &whole[..whole.len() - 1]),
            (
                "one that is cut off in the middle",
                &whole[..whole.len() / 2],
            ),
            (
                "one that still has its end",
                &[&whole[..], &END[..4]].concat(),
            ),
        ] {
            let found = inflate(&mut inflater(true, 100), &[garbage]);
            assert_eq!(found, Err(InflateError::Invalid), "{what}");
        }
    }

    #[test]
    fn a_stream_may_end_with_its_message_and_nothing_may_be_empty() {
        // The example of RFC 7692, section 7.2.3.4, and those of 7.2.3.1 and 7.2.3.6.
        let ended = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let plain = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let mut inflater = inflater(true, 100);
        for (payload, message) in [
            (&ended[..], "Hello"),
            (&plain, "Hello"),
            (&again, "Hello"),
            (&[0], ""),
            (&[], ""),
            (&again, "Hello"),
            (&[&ended[..7], &plain].concat(), "HelloHello"),
            (&again, "Hello"),
        ] {
            let found = inflate(&mut inflater, &[payload]).unwrap();
            assert_eq!(found, message.as_bytes(), "{payload:x?}");
        }
    }

    #[test]
    fn the_room_for_a_message_holds_what_grows_by_being_compressed() {
        let mut inflater = inflater(true, 100);
        let mut stored = Compress::new(Compression::none(), false);
        assert!(deflated(&mut stored, &vec![7; MOST]).len() < inflater.room());
        let room = inflater.room();
        inflater.announce(room);
        assert_eq!(inflater.room(), 0);
    }
}
