//! What becomes of a peer that reads too slowly, and of the frames that there is no room for.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::task::AT_ONCE;
use super::{Accepted, FEW, Frame, Inner, Outbox, SendError, close, least, wake};
use crate::config::SlowConsumer;
use crate::hub::CloseCode;

impl Outbox {
    /// Whether it was closed because the peer reads too slowly.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.policy == SlowConsumer::Close && self.dropped() > 0
    }

    /// Queues a frame with which more than half is full, if there is room or room is made.
    pub(super) fn send_pressed(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        frame: Frame,
    ) -> Result<Accepted, SendError> {
        inner.pressed = true;
        let bytes = inner.bytes + frame.wire_len();
        if inner.bytes == 0 || bytes.max(least(inner.frames.len() + 1)) <= self.capacity {
            return Ok(inner.push(frame));
        }
        match self.policy {
            SlowConsumer::Close => {
                let dropped = inner.drop_all() + 1;
                self.count(&mut inner, dropped);
                self.traffic.slow.fetch_add(1, Ordering::Relaxed);
                let reason = Frame::close(Some(CloseCode::PolicyViolation as u16), "Slow consumer");
                close(inner, reason);
                Err(SendError::Backpressure)
            }
            SlowConsumer::DropOldest if inner.can_hold(&frame, self.capacity) => {
                // What is being written counts when it comes back, see `relieve`.
                let room = |inner: &Inner| {
                    let bytes = inner.bytes - inner.writing;
                    let full = bytes + frame.wire_len();
                    bytes == 0 || full.max(least(inner.frames.len() + 1)) <= self.capacity
                };
                let dropped = self.drop_oldest(&mut inner, room);
                let accepted = inner.push(frame);
                let sweeper = inner.sweeper();
                drop(inner);
                drop(dropped);
                wake(sweeper);
                Ok(accepted)
            }
            SlowConsumer::DropNewest | SlowConsumer::DropOldest => {
                self.count(&mut inner, 1);
                drop(inner);
                Err(SendError::Backpressure)
            }
        }
    }

    /// After a write to a peer for which more than half had been full: whom to wake, and frames to be let go when the
    /// lock is released.
    pub(super) fn relieve(&self, inner: &mut Inner) -> (Option<Waker>, VecDeque<Frame>) {
        let mut dropped = VecDeque::new();
        if self.policy == SlowConsumer::DropOldest {
            dropped = self.drop_oldest(inner, |inner| {
                // The newest stays.
                inner.full() <= self.capacity || inner.frames.len() <= usize::from(inner.begun) + 1
            });
        }
        let relieved = inner.held_back && inner.full() <= self.capacity / 2;
        inner.held_back &= !relieved;
        let emptied = inner.bytes == 0;
        let reader = inner.reader.take_if(|_| relieved || emptied);
        (reader.or_else(|| inner.sweeper()), dropped)
    }

    /// Drops whole frames from the front until there is room. Returns those that are to be let go when the lock is
    /// released; many are litter.
    fn drop_oldest(&self, inner: &mut Inner, room: impl Fn(&Inner) -> bool) -> VecDeque<Frame> {
        let mut dropped = VecDeque::new();
        while !room(inner)
            && let Some(frame) = inner.take_oldest()
        {
            inner.bytes -= frame.wire_len();
            dropped.push_back(frame);
        }
        self.count(inner, dropped.len());
        // Not on top of what lies there already, or there would be litter without end.
        if dropped.len() > AT_ONCE && inner.litter.is_empty() {
            inner.litter = take(&mut dropped);
        }
        dropped
    }

    fn count(&self, inner: &mut Inner, dropped: usize) {
        if dropped > 0 {
            inner.dropped += dropped as u64;
            self.traffic
                .dropped
                .fetch_add(dropped as u64, Ordering::Relaxed);
        }
    }
}

impl Inner {
    /// Whether there would be room for a frame if nothing waited but what has begun, which has to end.
    fn can_hold(&self, frame: &Frame, capacity: usize) -> bool {
        let begun = self.frames.front().filter(|_| self.begun);
        begun.is_none_or(|begun| begun.wire_len() + frame.wire_len() <= capacity)
    }

    /// Drops what is queued, but for a frame that has begun: it has to end, or the close frame would be read as a part
    /// of it. Returns how many frames those were.
    fn drop_all(&mut self) -> usize {
        let mut dropped = take(&mut self.frames);
        if self.begun {
            self.frames.extend(dropped.pop_front());
        }
        let kept: usize = self.frames.iter().map(Frame::wire_len).sum();
        self.bytes = self.writing + kept;
        let count = dropped.len();
        self.litter.append(&mut dropped);
        count
    }

    /// Whom to wake when there is litter: the reader sweeps it.
    fn sweeper(&mut self) -> Option<Waker> {
        let litter = !self.litter.is_empty();
        self.reader.take_if(|_| litter)
    }

    /// Takes out the frame that is to be dropped first: the oldest that has not begun. Pings and pongs stay as long as
    /// they are few: they are small, and a peer that misses a pong may think that the server is gone.
    fn take_oldest(&mut self) -> Option<Frame> {
        let first = usize::from(self.begun);
        let mut oldest = self.frames.iter().skip(first).take(FEW);
        let message = oldest.position(|frame| !is_control(frame)).unwrap_or(0);
        self.frames.remove(first + message)
    }
}

/// Whether a whole frame is a control frame (RFC 6455, section 5.5).
fn is_control(frame: &Frame) -> bool {
    frame.as_bytes().first().is_some_and(|first| first & 8 != 0)
}
