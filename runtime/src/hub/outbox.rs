//! What waits to be written to one socket: bounded, filled from anywhere, emptied by the socket's connection.
//!
//! Filling never waits. The writer parks a waker when it finds the queue empty; the first frame after that wakes it,
//! the others find it awake, so that everything queued meanwhile leaves in one write.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::frame::{CloseCode, Frame};

/// Frames taken out to be written, in order.
pub type Batch = VecDeque<Frame>;

/// A bounded queue of frames to one socket.
#[derive(Debug)]
pub struct Outbox {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    frames: Batch,
    /// Bytes queued and bytes being written.
    bytes: usize,
    state: State,
    /// The close frame to send when the handler is done with the message in hand.
    parting: Option<Frame>,
    /// The writer, when it has found nothing to write.
    writer: Option<Waker>,
    reader: Option<Waker>,
    /// Whether the reader waits for room.
    held_back: bool,
}

/// What a reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Take the next message.
    Read,
    /// See to the end: the socket is not open any more.
    Close,
}

/// How far the socket is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Frames are accepted.
    Open,
    /// The close frame is queued or written; nothing is accepted any more.
    Closing,
    /// The connection is to be dropped as it stands.
    Aborted,
}

/// Why a frame is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The socket is closing or closed.
    #[error("the socket is closed")]
    Closed,
    /// The queue is full. The socket is being closed with 1008 for it.
    #[error("the socket's peer reads too slowly")]
    Backpressure,
}

impl Outbox {
    /// An empty outbox for `capacity` bytes. One frame that finds it empty may exceed that.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::new(Inner {
                frames: Batch::new(),
                bytes: 0,
                state: State::Open,
                parting: None,
                writer: None,
                reader: None,
                held_back: false,
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
    /// The socket is closed, or the queue is full: then what is queued is dropped and the socket closed with 1008.
    pub fn send(&self, frame: Frame) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Err(SendError::Closed);
        }
        let bytes = inner.bytes + frame.wire_len();
        if inner.bytes > 0 && bytes > self.capacity {
            let queued: usize = inner.frames.drain(..).map(|frame| frame.wire_len()).sum();
            inner.bytes -= queued;
            close(
                inner,
                Frame::close(Some(CloseCode::PolicyViolation as u16), "Slow consumer"),
            );
            return Err(SendError::Backpressure);
        }
        inner.bytes = bytes;
        inner.frames.push_back(frame);
        let waker = inner.writer.take();
        drop(inner);
        wake(waker);
        Ok(())
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
        inner.parting.get_or_insert(frame);
        let waker = inner.reader.take();
        drop(inner);
        wake(waker);
    }

    /// Drops what is queued and has the connection dropped.
    pub fn abort(&self) {
        let mut inner = self.lock();
        inner.state = State::Aborted;
        inner.frames.clear();
        inner.bytes = 0;
        let wakers = [inner.writer.take(), inner.reader.take()];
        drop(inner);
        wakers.into_iter().for_each(wake);
    }

    /// Bytes accepted and not yet written.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.lock().bytes
    }

    /// How far the socket is on its way to its end.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// For the writer: `written` bytes of what was taken are with the operating system. Moves everything that is queued
    /// into `batch`, which must be empty. Ready with false when there will be nothing more.
    pub fn poll_take(&self, cx: &mut Context<'_>, written: usize, batch: &mut Batch) -> Poll<bool> {
        debug_assert!(batch.is_empty());
        let mut inner = self.lock();
        let reader = self.count_written(&mut inner, written);
        let taken = if inner.frames.is_empty() {
            match inner.state {
                State::Open => {
                    park(&mut inner.writer, cx);
                    Poll::Pending
                }
                State::Closing | State::Aborted => Poll::Ready(false),
            }
        } else {
            std::mem::swap(&mut inner.frames, batch);
            Poll::Ready(true)
        };
        drop(inner);
        wake(reader);
        taken
    }

    /// For the writer: `bytes` of what was taken are with the operating system, and others are not yet.
    pub fn written(&self, bytes: usize) {
        let mut inner = self.lock();
        let reader = self.count_written(&mut inner, bytes);
        drop(inner);
        wake(reader);
    }

    /// Returns the reader when it waits for this.
    fn count_written(&self, inner: &mut Inner, written: usize) -> Option<Waker> {
        inner.bytes = inner.bytes.saturating_sub(written);
        if inner.held_back && inner.bytes <= self.capacity / 2 {
            inner.held_back = false;
            return inner.reader.take();
        }
        None
    }

    /// For the reader, between two messages: whether to take the next one or to close. Pending while more than half of
    /// the outbox is full: a peer that sends faster than it reads is held back, instead of being dropped for answers
    /// to its own messages.
    ///
    /// The writer of the same task has its turn behind the reader, so that nobody needs to wake it for what is queued
    /// from here on.
    pub fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Poll::Ready(Turn::Close);
        }
        if let Some(frame) = inner.parting.take() {
            close(inner, frame);
            return Poll::Ready(Turn::Close);
        }
        inner.writer = None;
        park(&mut inner.reader, cx);
        inner.held_back = inner.bytes > self.capacity / 2;
        match inner.held_back {
            true => Poll::Pending,
            false => Poll::Ready(Turn::Read),
        }
    }

    /// For the reader: ready when the connection is to be dropped.
    pub fn poll_aborted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.state == State::Aborted {
            return Poll::Ready(());
        }
        park(&mut inner.reader, cx);
        Poll::Pending
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

fn park(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn frame(payload: usize) -> Frame {
        Frame::message(Message::Binary(&vec![0; payload]))
    }

    fn take(outbox: &Outbox) -> Poll<bool> {
        outbox.poll_take(
            &mut Context::from_waker(Waker::noop()),
            0,
            &mut Batch::new(),
        )
    }

    #[test]
    fn r7_the_capacity_holds_at_the_limit_and_one_past() {
        let outbox = Outbox::new(20);
        assert_eq!(outbox.send(frame(8)), Ok(()));
        assert_eq!(outbox.send(frame(8)), Ok(()));
        assert_eq!(outbox.buffered(), 20);
        assert_eq!(outbox.send(frame(0)), Err(SendError::Backpressure));
        assert_eq!(outbox.state(), State::Closing);
        let mut batch = Batch::new();
        let taken = outbox.poll_take(&mut Context::from_waker(Waker::noop()), 0, &mut batch);
        assert_eq!(taken, Poll::Ready(true));
        assert_eq!(batch, [Frame::close(Some(1008), "Slow consumer")]);
        assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
        assert_eq!(take(&outbox), Poll::Ready(false));
    }

    #[test]
    fn a_single_frame_over_the_capacity_passes_when_nothing_waits() {
        let outbox = Outbox::new(20);
        assert_eq!(outbox.send(frame(100)), Ok(()));
        assert_eq!(outbox.send(frame(0)), Err(SendError::Backpressure));
    }

    #[test]
    fn what_is_being_written_counts() {
        let outbox = Outbox::new(20);
        outbox.send(frame(18)).unwrap();
        assert_eq!(take(&outbox), Poll::Ready(true));
        assert_eq!(take(&outbox), Poll::Pending);
        outbox.written(10);
        assert_eq!(outbox.send(frame(8)), Ok(()));
        assert_eq!(outbox.buffered(), 20);
    }

    #[test]
    fn v1_what_is_sent_before_the_next_message_goes_out_before_the_close_frame() {
        let outbox = Outbox::new(20);
        outbox.close_between_messages(Frame::close(Some(1001), ""));
        assert_eq!(outbox.send(frame(1)), Ok(()));
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(outbox.poll_turn(cx), Poll::Ready(Turn::Close));
        let mut batch = Batch::new();
        assert_eq!(outbox.poll_take(cx, 0, &mut batch), Poll::Ready(true));
        assert_eq!(batch, [frame(1), Frame::close(Some(1001), "")]);
        assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
    }

    #[test]
    fn r7_a_reader_is_held_back_over_half_and_woken_when_there_is_room() {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = std::sync::Arc::new(Woken(false.into()));
        let is_woken = || woken.0.load(std::sync::atomic::Ordering::Relaxed);
        let waker = Waker::from(woken.clone());
        let cx = &mut Context::from_waker(&waker);
        let outbox = Outbox::new(20);
        outbox.send(frame(8)).unwrap();
        assert_eq!(outbox.poll_turn(cx), Poll::Ready(Turn::Read));
        outbox.send(frame(0)).unwrap();
        assert_eq!(outbox.poll_turn(cx), Poll::Pending);
        assert_eq!(take(&outbox), Poll::Ready(true));
        outbox.written(1);
        assert!(!is_woken());
        outbox.written(1);
        assert!(is_woken());
        assert_eq!(outbox.poll_turn(cx), Poll::Ready(Turn::Read));
    }

    #[test]
    fn closing_twice_is_closing_once() {
        let outbox = Outbox::new(20);
        outbox.close(Frame::close(Some(4000), ""));
        outbox.close(Frame::close(Some(4001), ""));
        assert_eq!(outbox.buffered(), 4);
        outbox.abort();
        assert_eq!(take(&outbox), Poll::Ready(false));
    }
}
