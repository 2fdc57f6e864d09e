//! Compressing what goes to sockets whose peers can inflate it: once for all of them where it goes to many.
//!
//! A message to one socket may refer to what that peer has got before, when that was agreed on. One to many refers to
//! nothing, so that all with the same window get the same bytes; and it becomes a part of what the next message to each of
//! them may refer to. What that is must be what the peer has really got, in the same order: so a frame is queued, and noted,
//! under one lock.

use std::sync::{Mutex, PoisonError};

use super::{Frame, SendError};
use crate::deflate::{self, History, Side};
use crate::quota::{Account, Held};

/// What a frame that waits counts beside its bytes.
const FRAME: u64 = 128;

/// Compresses the messages to one socket.
pub struct Compressor {
    window_bits: u8,
    threshold: usize,
    /// What the next message may refer to; none when none may.
    history: Option<Mutex<History>>,
    account: Account,
}

/// A frame on its way to many sockets, and what it is compressed, for each window that one of them has.
pub(super) struct Shared<'a> {
    frame: &'a Frame,
    /// Without a frame where it is not smaller compressed.
    compressed: Vec<(u8, Option<Frame>)>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(frame: &'a Frame) -> Self {
        Self {
            frame,
            compressed: Vec::new(),
        }
    }

    pub(super) fn frame(&self) -> &'a Frame {
        self.frame
    }
}

impl Compressor {
    /// As agreed for the server. Messages below `threshold` bytes go as they are. What waits compressed counts on `account`.
    #[must_use]
    pub fn new(server: Side, threshold: usize, account: Account) -> Self {
        let history = server
            .takeover
            .then(|| Mutex::new(History::of_sent(server.window_bits)));
        Self {
            window_bits: server.window_bits,
            threshold,
            history,
            account,
        }
    }

    /// Queues a frame, compressed when that makes it smaller.
    pub(super) fn send(
        &self,
        frame: Frame,
        queue: impl FnOnce(Frame) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Some((opcode, message)) = self.compressible(&frame) else {
            return queue(frame);
        };
        let Some(history) = &self.history else {
            let compressed = self.compress(None, opcode, message);
            return queue(compressed.unwrap_or(frame));
        };
        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
        match self.compress(Some(&history), opcode, message) {
            Some(compressed) => {
                queue(compressed)?;
                history.append(message);
                Ok(())
            }
            None => queue(frame),
        }
    }

    /// The same with a frame that goes to others too.
    pub(super) fn send_shared(
        &self,
        shared: &mut Shared<'_>,
        queue: impl FnOnce(Frame) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Some((opcode, message)) = self.compressible(shared.frame) else {
            return queue(shared.frame.clone());
        };
        let known = &mut shared.compressed;
        let compressed = match known.iter().find(|(bits, _)| *bits == self.window_bits) {
            Some((_, compressed)) => compressed.clone(),
            None => {
                let compressed = self.compress(None, opcode, message);
                known.push((self.window_bits, compressed.clone()));
                compressed
            }
        };
        let Some(compressed) = compressed else {
            return queue(shared.frame.clone());
        };
        let Some(history) = &self.history else {
            return queue(compressed);
        };
        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
        queue(compressed)?;
        // A socket that gets nothing but what goes to many needs no history, and has none.
        if !history.is_empty() {
            history.append(message);
        }
        Ok(())
    }

    /// The opcode and the payload of a frame that is to be compressed.
    fn compressible<'a>(&self, frame: &'a Frame) -> Option<(u8, &'a [u8])> {
        let (opcode, message) = frame.uncompressed()?;
        let range = self.threshold..=deflate::LARGEST;
        range.contains(&message.len()).then_some((opcode, message))
    }

    /// The frame of a message, compressed; none when it would not be smaller, or the account has no room for both.
    fn compress(&self, history: Option<&History>, opcode: u8, message: &[u8]) -> Option<Frame> {
        let frame = deflate::deflate(self.window_bits, history, message, |compressed| {
            Frame::compressed(opcode, compressed)
        })?;
        if !self.account.bounds(Held::Queued) {
            return Some(frame);
        }
        let hold = self
            .account
            .hold(Held::Queued, frame.wire_len() as u64 + FRAME)?;
        Some(frame.holding(hold))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::config::Quotas;
    use crate::deflate::Inflater;
    use crate::message::Message;
    use crate::quota::Tenants;

    /// A peer with its end of the compression.
    struct Peer {
        compressor: Compressor,
        inflater: Inflater,
        got: RefCell<Vec<Frame>>,
    }

    impl Peer {
        fn new(window_bits: u8, takeover: bool) -> Self {
            Self::of(window_bits, takeover, Account::unbounded())
        }

        fn of(window_bits: u8, takeover: bool, account: Account) -> Self {
            let side = Side {
                window_bits,
                takeover,
            };
            Self {
                compressor: Compressor::new(side, 100, account),
                inflater: Inflater::new(side, 1 << 20, 10_000),
                got: RefCell::default(),
            }
        }

        fn take(&self, frame: Frame) -> Result<(), SendError> {
            self.got.borrow_mut().push(frame);
            Ok(())
        }

        fn send(&self, message: &str) {
            let frame = Frame::message(Message::Text(message));
            self.compressor
                .send(frame, |frame| self.take(frame))
                .unwrap();
        }

        fn share(&self, shared: &mut Shared<'_>) {
            let sent = self
                .compressor
                .send_shared(shared, |frame| self.take(frame));
            sent.unwrap();
        }

        /// What has come: the messages, and the bytes on the wire of each.
        fn got(&mut self) -> Vec<(String, usize)> {
            let frames = self.got.take();
            let messages = frames.iter().map(|frame| {
                let payload = match frame.uncompressed() {
                    Some((_, payload)) => payload.to_vec(),
                    None => {
                        let bytes = frame.as_bytes();
                        assert_eq!(bytes[0], 0xc1);
                        let header = if bytes[1] < 126 { 2 } else { 4 };
                        let mut payload = Vec::new();
                        self.inflater.announce(bytes.len() - header);
                        self.inflater
                            .inflate(&bytes[header..], &mut payload)
                            .unwrap();
                        self.inflater.finish(&mut payload).unwrap();
                        payload
                    }
                };
                (String::from_utf8(payload).unwrap(), frame.wire_len())
            });
            messages.collect()
        }
    }

    fn text(seed: u32) -> String {
        let numbers = (0..40_u32).map(|n| n.wrapping_mul(seed).wrapping_mul(2_654_435_761));
        numbers.map(|n| format!("{n} ")).collect()
    }

    #[test]
    fn what_goes_to_one_refers_to_what_went_to_it_and_to_all_before() {
        let mut peers = [(15, true), (15, true), (9, true), (15, false)]
            .map(|(bits, takeover)| Peer::new(bits, takeover));
        let (one, all) = (text(1), text(2));
        let frame = Frame::message(Message::Text(&all));
        let mut expected = Vec::new();
        for round in 0..4 {
            for peer in &peers[usize::from(round == 0)..] {
                peer.send(&one);
            }
            let mut shared = Shared::new(&frame);
            peers.iter().for_each(|peer| peer.share(&mut shared));
            assert_eq!(shared.compressed.len(), 2);
            for peer in &peers {
                peer.send(&all);
                peer.send("short");
            }
            expected.push([&one[..], &all, &all, "short"]);
        }
        let expected: Vec<_> = expected.concat();
        for (index, peer) in peers.iter_mut().enumerate() {
            let got = peer.got();
            let texts: Vec<_> = got.iter().map(|(text, _)| text.as_str()).collect();
            let skipped = usize::from(index == 0);
            assert_eq!(texts, expected[skipped..], "{index}");
            let sizes: Vec<_> = got.iter().map(|(_, size)| *size).collect();
            let [.., one_again, to_all, all_again, _] = sizes[..] else {
                panic!("{sizes:?}");
            };
            if index < 2 {
                assert!(one_again < 30 && all_again < 30, "{sizes:?}");
            }
            assert!(to_all > 100, "{sizes:?}");
        }
        let frames = [&peers[0], &peers[1]].map(|peer| peer.compressor.history.is_some());
        assert_eq!(frames, [true, true]);
    }

    #[test]
    fn who_gets_only_what_goes_to_many_keeps_nothing() {
        let peer = Peer::new(15, true);
        let all = text(1);
        let frame = Frame::message(Message::Text(&all));
        peer.share(&mut Shared::new(&frame));
        let kept = || {
            peer.compressor
                .history
                .as_ref()
                .unwrap()
                .lock()
                .unwrap()
                .as_bytes()
                .len()
        };
        assert_eq!(kept(), 0);
        peer.send(&all);
        assert_eq!(kept(), all.len());
        peer.share(&mut Shared::new(&frame));
        assert_eq!(kept(), 2 * all.len());
    }

    #[test]
    fn r7_a_frame_that_was_not_taken_is_not_referred_to() {
        let mut peer = Peer::new(15, true);
        let (one, two) = (text(1), text(2));
        peer.send(&one);
        let refuse = |_| Err(SendError::Backpressure);
        let frame = Frame::message(Message::Text(&two));
        let refused = peer.compressor.send(frame.clone(), refuse);
        assert_eq!(refused, Err(SendError::Backpressure));
        let refused = peer
            .compressor
            .send_shared(&mut Shared::new(&frame), refuse);
        assert_eq!(refused, Err(SendError::Backpressure));
        for message in [&two, &two, &one] {
            peer.send(message);
        }
        let texts = [&one, &two, &two, &one].map(String::clone);
        assert_eq!(
            peer.got()
                .into_iter()
                .map(|(text, _)| text)
                .collect::<Vec<_>>(),
            texts
        );
    }

    #[test]
    fn what_is_compressed_lies_between_the_bounds() {
        let mut peer = Peer::new(15, false);
        let sizes = [99, 100, deflate::LARGEST, deflate::LARGEST + 1];
        sizes.iter().for_each(|&len| peer.send(&"x".repeat(len)));
        let compressed: Vec<_> = peer
            .got
            .borrow()
            .iter()
            .map(|frame| frame.as_bytes()[0] == 0xc1)
            .collect();
        assert_eq!(compressed, [false, true, true, false]);
        assert!(
            peer.got()
                .iter()
                .zip(sizes)
                .all(|((text, _), len)| text.len() == len)
        );
        for control in [
            Frame::ping(&[b'x'; 125]),
            Frame::close(Some(1000), &"x".repeat(120)),
        ] {
            peer.compressor
                .send(control.clone(), |frame| peer.take(frame))
                .unwrap();
            assert_eq!(peer.got.take(), [control]);
        }
    }

    #[test]
    fn what_waits_compressed_is_counted_and_goes_as_it_is_where_that_would_be_too_much() {
        let quotas = Quotas {
            queued_bytes: Some(400),
            ..Quotas::default()
        };
        let account = Tenants::new(1, u64::MAX).account(Some("acme"), &Quotas::default(), &quotas);
        let peer = Peer::of(15, false, account.clone());
        let message = "x".repeat(300);
        peer.send(&message);
        let of_one = account.used(Held::Queued);
        assert!((129..200).contains(&of_one), "{of_one}");
        peer.send(&message);
        peer.send(&message);
        let compressed: Vec<_> = peer
            .got
            .borrow()
            .iter()
            .map(|frame| frame.as_bytes()[0] == 0xc1)
            .collect();
        assert_eq!(compressed, [true, true, false]);
        peer.got.take();
        assert_eq!(account.used(Held::Queued), 0);
    }
}
