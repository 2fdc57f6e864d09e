//! What waits to be written to one socket: bounded, filled from anywhere, emptied by whoever filled it.
//!
//! Filling never waits. Whoever queues the first frame sees to it that it is written: when its turn ends (see
//! [`super::turn`]), so that everything queued meanwhile leaves in one write and nobody is woken for it. What the
//! operating system does not take then is left to the socket's own connection, which waits until it does.
//!
//! What becomes of frames for which there is no room is in `slow`, what the socket's own connection asks in `task`.

mod slow;
mod task;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

pub use self::task::{Next, Seen};
use super::frame::Frame;
use super::traffic::Traffic;
use super::wire::{Wire, write};
use crate::config::SlowConsumer;

/// What a frame counts at least, in bytes, whether the queue is full: about what it takes in memory beside its bytes.
const LEAST: usize = 128;
/// Of how many frames that is nothing worth to be counted.
const FEW: usize = 64;

/// A bounded queue of frames to one socket.
pub struct Outbox {
    capacity: usize,
    policy: SlowConsumer,
    traffic: Arc<Traffic>,
    inner: Mutex<Inner>,
}

struct Inner {
    frames: VecDeque<Frame>,
    /// Whether the peer has the beginning of the first frame already.
    begun: bool,
    /// Bytes queued and bytes being written.
    bytes: usize,
    /// How many of them are being written.
    writing: usize,
    state: State,
    /// Where the frames go. None while somebody is writing, and when the connection has ended.
    wire: Option<Arc<dyn Wire>>,
    /// Whether somebody is about to write what is queued.
    promised: bool,
    /// The close frame to send when the handler is done with the message in hand. Boxed, as it is rare.
    parting: Option<Box<Frame>>,
    writer: Option<Waker>,
    reader: Option<Waker>,
    /// Whether more than half was full since the queue was empty last, or something was dropped.
    pressed: bool,
    /// Whether the reader waits for room.
    held_back: bool,
    /// Whether the operating system did not take all that it was offered last.
    stuck: bool,
    /// Whether it has taken more of that since the reader asked last.
    moved: bool,
    /// Whether the reader is to see whether the peer is still there.
    nudged: bool,
    /// How many frames were dropped because the peer reads too slowly.
    dropped: u64,
    /// Frames that were dropped, and are let go a few at a time.
    litter: VecDeque<Frame>,
}

impl Inner {
    /// What is queued, as it counts.
    fn full(&self) -> usize {
        self.bytes.max(least(self.frames.len()))
    }

    /// Queues a frame, whether or not there is room.
    fn push(&mut self, frame: Frame) -> Accepted {
        // What the operating system has not taken yet, its connection waits with.
        let waits = !self.frames.is_empty();
        self.bytes += frame.wire_len();
        self.frames.push_back(frame);
        if waits || self.promised {
            return Accepted::Promised;
        }
        self.promised = true;
        Accepted::ToBeFlushed
    }
}

/// What so many frames count at least, in bytes.
fn least(frames: usize) -> usize {
    frames.saturating_sub(FEW).saturating_mul(LEAST)
}

/// How far the socket is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Frames are accepted.
    Open,
    /// The close frame is queued or written; nothing is accepted any more.
    Closing,
    /// The connection has ended, or is to be dropped as it stands.
    Aborted,
}

/// Who writes a frame that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Accepted {
    /// Somebody is about to write it.
    Promised,
    /// Whoever has queued it has to call [`Outbox::flush`] soon, or [`Outbox::leave_to_writer`].
    ToBeFlushed,
}

/// Why a frame is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The socket is closing or closed.
    #[error("the socket is closed")]
    Closed,
    /// The queue is full. Unless the frame is simply dropped, the socket is being closed with 1008 for it.
    #[error("the socket's peer reads too slowly")]
    Backpressure,
}

impl Outbox {
    /// An empty outbox for `capacity` bytes. One frame that finds it empty may exceed that. Many small ones fill it when
    /// each counts 128 bytes. What there is no room for is treated as `policy` says, and counted in `traffic`.
    #[must_use]
    pub fn new(
        capacity: usize,
        policy: SlowConsumer,
        traffic: Arc<Traffic>,
        wire: Arc<dyn Wire>,
    ) -> Self {
        Self {
            capacity,
            policy,
            traffic,
            inner: Mutex::new(Inner {
                frames: VecDeque::new(),
                begun: false,
                bytes: 0,
                writing: 0,
                state: State::Open,
                wire: Some(wire),
                promised: false,
                parting: None,
                writer: None,
                reader: None,
                pressed: false,
                held_back: false,
                stuck: false,
                moved: false,
                nudged: false,
                dropped: 0,
                litter: VecDeque::new(),
            }),
        }
    }

    // Nothing panics while holding the lock; were it poisoned all the same, the queue would still be whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame.
    ///
    /// # Errors
    /// The socket is closed, or the queue is full: then the policy decides whether the frame is dropped alone, or with
    /// what is queued and not begun, and the socket closed with 1008. With [`SlowConsumer::DropOldest`] a frame is
    /// refused only when one that has begun leaves no room for it.
    pub fn send(&self, frame: Frame) -> Result<Accepted, SendError> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Err(SendError::Closed);
        }
        let bytes = inner.bytes + frame.wire_len();
        if bytes.max(least(inner.frames.len() + 1)) > self.capacity / 2 {
            return self.send_pressed(inner, frame);
        }
        Ok(inner.push(frame))
    }

    /// Writes what is queued, as far as the operating system takes it; the rest is left to the writer.
    pub fn flush(&self) {
        let mut inner = self.lock();
        inner.promised = false;
        if inner.frames.is_empty() {
            return;
        }
        // When somebody else is writing, it finds what is queued when it is done.
        let Some(wire) = inner.wire.take() else {
            return;
        };
        let mut frames = take(&mut inner.frames);
        let mut begun = take(&mut inner.begun);
        inner.writing = inner.bytes;
        drop(inner);
        let (written, intact) = write(&*wire, &mut frames, &mut begun);

        let mut inner = self.lock();
        if inner.state == State::Aborted {
            return;
        }
        inner.bytes -= written;
        inner.writing = 0;
        // What was left is what was not taken.
        inner.moved |= inner.stuck && written > 0;
        inner.stuck = !frames.is_empty();
        // What a burst took is not kept.
        let spare = match frames.is_empty() && frames.capacity() > FEW {
            true => take(&mut frames),
            false => VecDeque::new(),
        };
        frames.append(&mut inner.frames);
        inner.frames = frames;
        inner.begun = begun;
        if !intact {
            abort(inner);
            return;
        }
        inner.wire = Some(wire);
        let (reader, dropped) = match inner.pressed {
            true => self.relieve(&mut inner),
            false => (None, VecDeque::new()),
        };
        let left = !inner.frames.is_empty() && !inner.promised;
        let ends = inner.state != State::Open;
        let writer = inner.writer.take_if(|_| left || ends);
        drop(inner);
        drop((spare, dropped));
        wake(reader);
        wake(writer);
    }

    /// Has the connection write what is queued, when it has its turn.
    pub fn leave_to_writer(&self) {
        let mut inner = self.lock();
        inner.promised = false;
        let writer = inner.writer.take();
        drop(inner);
        wake(writer);
    }

    /// Queues the close frame behind what is queued and accepts nothing more. Closing twice is closing once.
    pub fn close(&self, frame: Frame) {
        let inner = self.lock();
        if inner.state == State::Open {
            close(inner, frame);
        }
    }

    /// Has the reader close the socket before it takes the next message, so that what the handler still sends for the
    /// one in hand goes out.
    pub fn close_between_messages(&self, frame: Frame) {
        let mut inner = self.lock();
        inner.parting.get_or_insert_with(|| Box::new(frame));
        let waker = inner.reader.take();
        drop(inner);
        wake(waker);
    }

    /// Drops what is queued and has the connection dropped.
    pub fn abort(&self) {
        abort(self.lock());
    }

    /// Has the reader see whether the peer is still there, when it takes messages or waits for room.
    pub fn nudge(&self) {
        let mut inner = self.lock();
        inner.nudged = true;
        let waker = inner.reader.take();
        drop(inner);
        wake(waker);
    }

    /// Bytes accepted and not yet written.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.lock().bytes
    }

    /// How many frames were dropped because the peer reads too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// How far the socket is on its way to its end.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state
    }
}

fn close(mut inner: MutexGuard<'_, Inner>, frame: Frame) {
    inner.state = State::Closing;
    inner.bytes += frame.wire_len();
    inner.frames.push_back(frame);
    let wakers = [inner.writer.take(), inner.reader.take()];
    drop(inner);
    wakers.into_iter().for_each(wake);
}

fn abort(mut inner: MutexGuard<'_, Inner>) {
    inner.state = State::Aborted;
    let mut frames = take(&mut inner.frames);
    inner.litter.append(&mut frames);
    inner.begun = false;
    inner.bytes = 0;
    // A connection that has ended is not kept open by those who still know its socket.
    let wire = inner.wire.take();
    let wakers = [inner.writer.take(), inner.reader.take()];
    drop(inner);
    drop(wire);
    wakers.into_iter().for_each(wake);
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
