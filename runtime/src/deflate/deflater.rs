//! Compressing one whole message.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

use super::History;

/// The largest message that is compressed, in bytes; a larger one goes as it is. It happens on a thread that serves others
/// too, and this much takes two milliseconds.
pub const LARGEST: usize = 256 << 10;

/// The second of zlib-rs' levels. The first takes two thirds of the time and leaves a third more; the third takes half as
/// long again, for a twentieth less.
const LEVEL: u32 = 2;

/// The windows that zlib has for a stream without a header, in bits.
const SMALLEST: u8 = 9;
const WINDOWS: usize = 7;

/// What a message's last block ends with, and what is left out of it (RFC 7692, section 7.2.1).
const END: [u8; 4] = [0, 0, 0xff, 0xff];

/// What a thread compresses with: a compressor for each window that has been asked for, each of 250 to 370 KiB.
struct Workshop {
    compressors: [Option<Compress>; WINDOWS],
    compressed: Vec<u8>,
}

thread_local! {
    static WORKSHOP: RefCell<Workshop> = const {
        RefCell::new(Workshop { compressors: [const { None }; WINDOWS], compressed: Vec::new() })
    };
}

/// Compresses a message for a peer with a window of two to the power of `window_bits` bytes, 9 to 15, which has got what is
/// in `history` directly before; without one it can be read whatever went before. Returns what `take` makes of it, or
/// nothing when it is not smaller than the message.
pub fn deflate<T>(
    window_bits: u8,
    history: Option<&History>,
    message: &[u8],
    take: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    WORKSHOP.with_borrow_mut(|workshop| {
        let window_bits = window_bits.clamp(SMALLEST, SMALLEST + WINDOWS as u8 - 1);
        let compressor = workshop.compressors[usize::from(window_bits - SMALLEST)]
            .get_or_insert_with(|| {
                Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits)
            });
        compressor.reset();
        if let Some(history) = history.filter(|history| !history.is_empty()) {
            compressor.set_dictionary(history.as_bytes()).ok()?;
        }
        let compressed = &mut workshop.compressed;
        compressed.clear();
        // When there is no room for all of it, it is not worth it.
        compressed.reserve(message.len() + END.len());
        compressor
            .compress_vec(message, compressed, FlushCompress::Sync)
            .ok()?;
        let whole = compressor.total_in() == message.len() as u64
            && compressed.len() < compressed.capacity();
        let compressed = compressed.strip_suffix(&END).filter(|_| whole)?;
        (compressed.len() < message.len()).then(|| take(compressed))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Inflater, Side};
    use super::*;

    fn inflater(window_bits: u8) -> Inflater {
        let side = Side {
            window_bits,
            takeover: true,
        };
        Inflater::new(side, LARGEST, 100_000)
    }

    fn inflate(inflater: &mut Inflater, compressed: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        inflater.announce(compressed.len());
        let mut rest = compressed;
        while !rest.is_empty() {
            rest = &rest[inflater.inflate(rest, &mut message).unwrap()..];
        }
        inflater.finish(&mut message).unwrap();
        message
    }

    /// A text in which little is said twice.
    fn text(seed: u32, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut digit = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 28) as u8
        };
        (0..len).map(|_| digit()).collect()
    }

    #[test]
    fn a_message_comes_back_through_every_window_with_and_without_a_history() {
        for window_bits in 9..=15 {
            let mut history = History::of_sent(window_bits);
            let mut inflater = inflater(window_bits);
            for (number, len) in [300, 300, 5000, 300, 70_000, 1000, LARGEST]
                .into_iter()
                .enumerate()
            {
                let message = text(number as u32 % 2, len);
                // One that refers to nothing can come between those that do, as one to many sockets does.
                let with = (number != 3).then_some(&history);
                let compressed = deflate(window_bits, with, &message, <[u8]>::to_vec).unwrap();
                assert!(
                    inflate(&mut inflater, &compressed) == message,
                    "{window_bits} {number}"
                );
                history.append(&message);
            }
        }
    }

    #[test]
    fn what_was_said_before_makes_a_message_smaller() {
        let message = text(1, 200);
        let mut history = History::of_sent(15);
        let deflated = |history: Option<&_>| deflate(15, history, &message, <[u8]>::len).unwrap();
        let alone = deflated(None);
        assert_eq!(deflated(Some(&history)), alone);
        history.append(&message);
        assert!(deflated(Some(&history)) < 20);
        assert_eq!(deflated(None), alone);
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(deflate(15, None, &noise, |_| ()).is_none());
        assert!(deflate(15, None, b"", |_| ()).is_none());
        assert!(deflate(15, None, b"abc", |_| ()).is_none());
        // It does not depend on how much room an earlier message has left.
        assert!(deflate(15, None, &text(1, LARGEST), |_| ()).is_some());
        assert!(deflate(15, None, &noise, |_| ()).is_none());
    }
}
