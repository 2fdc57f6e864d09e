//! What was said last, to which what is said next may refer back.

/// What the server keeps at most of what it has sent, in bytes. More makes little smaller: of messages of 300 bytes JSON
/// 67 % are left without any, 37 % with 4 KiB, as with 8, and 35 % with 32, which takes three times as long.
const SENT: usize = 4 << 10;

/// The end of all that has gone one way in compressed messages.
///
/// It takes as much memory as there is to keep: nothing before the first message.
#[derive(Debug)]
pub struct History {
    bytes: Vec<u8>,
    most: usize,
}

impl History {
    /// Of what is sent to a peer with a window of two to the power of `window_bits` bytes.
    #[must_use]
    pub fn of_sent(window_bits: u8) -> Self {
        Self::new(SENT.min(1 << window_bits))
    }

    /// Of what a peer sends that has such a window: all that it can refer to.
    pub(super) fn of_received(window_bits: u8) -> Self {
        // zlib has no window of 256 bytes, and takes one of 512 when it is asked for that.
        Self::new(1 << window_bits.max(9))
    }

    fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
        }
    }

    /// What there is.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is nothing to refer to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One more message, not compressed any more or not yet.
    pub fn append(&mut self, message: &[u8]) {
        let message = &message[message.len().saturating_sub(self.most)..];
        let whole = self.bytes.len() + message.len();
        self.bytes.drain(..whole.saturating_sub(self.most));
        if self.bytes.capacity() < whole.min(self.most) {
            let capacity = (2 * self.bytes.capacity()).clamp(whole.min(self.most), self.most);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_never_more_memory_than_it_needs() {
        let mut all = Vec::new();
        let mut history = History::of_sent(9);
        assert_eq!(history.bytes.capacity(), 0);
        for (number, len) in [0, 1, 30, 511, 1, 512, 513, 200, 200, 200, 2000]
            .into_iter()
            .enumerate()
        {
            let message = vec![number as u8; len];
            all.extend_from_slice(&message);
            history.append(&message);
            let kept = all.len().min(512);
            assert_eq!(history.as_bytes(), &all[all.len() - kept..], "{number}");
            assert!(history.bytes.capacity() <= 512);
        }
        assert_eq!(History::of_sent(15).most, 4096);
        assert_eq!(History::of_received(15).most, 32768);
        assert_eq!(History::of_received(8).most, 512);
    }
}
