//! What waits to be written to one socket: bounded, filled from anywhere, emptied by whoever filled it.
//!
//! Filling never waits. Whoever queues the first frame sees to it that it is written: when its turn ends (see
//! [`super::turn`]), so that everything queued meanwhile leaves in one write and nobody is woken for it. What the
//! operating system does not take then is left to the socket's own connection, which waits until it does.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::frame::{CloseCode, Frame};
use super::wire::{Wire, write};

/// What a frame counts at least, in bytes, whether the queue is full: about what it takes in memory beside its bytes.
const LEAST: usize = 128;
/// Of how many frames that is nothing worth to be counted.
const FEW: usize = 64;

/// A bounded queue of frames to one socket.
pub struct Outbox {
    capacity: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    frames: VecDeque<Frame>,
    /// Whether the peer has the beginning of the first frame already.
    begun: bool,
    /// Bytes queued and bytes being written.
    bytes: usize,
    state: State,
    /// Where the frames go. None while somebody is writing, and when the connection has ended.
    wire: Option<Arc<dyn Wire>>,
    /// Whether somebody is about to write what is queued.
    promised: bool,
    /// The close frame to send when the handler is done with the message in hand.
    parting: Option<Frame>,
    writer: Option<Waker>,
    reader: Option<Waker>,
    /// Whether the reader waits for room.
    held_back: bool,
}

impl Inner {
    /// What is queued, as it counts.
    fn full(&self) -> usize {
        self.bytes.max(least(self.frames.len()))
    }
}

/// What so many frames count at least, in bytes.
fn least(frames: usize) -> usize {
    frames.saturating_sub(FEW).saturating_mul(LEAST)
}

/// What a reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
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
    /// The queue is full. The socket is being closed with 1008 for it.
    #[error("the socket's peer reads too slowly")]
    Backpressure,
}

impl Outbox {
    /// An empty outbox for `capacity` bytes. One frame that finds it empty may exceed that. Many small ones fill it when
    /// each counts 128 bytes.
    #[must_use]
    pub fn new(capacity: usize, wire: Arc<dyn Wire>) -> Self {
        Self {
            capacity,
            inner: Mutex::new(Inner {
                frames: VecDeque::new(),
                begun: false,
                bytes: 0,
                state: State::Open,
                wire: Some(wire),
                promised: false,
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
    /// The socket is closed, or the queue is full: then what is queued and not begun is dropped and the socket closed
    /// with 1008.
    pub fn send(&self, frame: Frame) -> Result<Accepted, SendError> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Err(SendError::Closed);
        }
        let bytes = inner.bytes + frame.wire_len();
        if inner.bytes > 0 && bytes.max(least(inner.frames.len() + 1)) > self.capacity {
            // A frame that has begun has to end, or the close frame would be read as a part of it.
            let kept = usize::from(inner.begun);
            let dropped = inner.frames.drain(kept..);
            let dropped: usize = dropped.map(|frame| frame.wire_len()).sum();
            inner.bytes -= dropped;
            close(
                inner,
                Frame::close(Some(CloseCode::PolicyViolation as u16), "Slow consumer"),
            );
            return Err(SendError::Backpressure);
        }
        // What the operating system has not taken yet, its connection waits with.
        let waits = !inner.frames.is_empty();
        inner.bytes = bytes;
        inner.frames.push_back(frame);
        if waits || inner.promised {
            return Ok(Accepted::Promised);
        }
        inner.promised = true;
        Ok(Accepted::ToBeFlushed)
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
        drop(inner);
        let (written, intact) = write(&*wire, &mut frames, &mut begun);

        let mut inner = self.lock();
        if !intact {
            abort(inner);
            return;
        }
        if inner.state == State::Aborted {
            return;
        }
        inner.wire = Some(wire);
        inner.bytes -= written;
        frames.append(&mut inner.frames);
        inner.frames = frames;
        inner.begun = begun;
        let relieved = inner.held_back && inner.full() <= self.capacity / 2;
        inner.held_back &= !relieved;
        let reader = inner.reader.take_if(|_| relieved);
        let left = !inner.frames.is_empty() && !inner.promised;
        let ends = inner.state != State::Open;
        let writer = inner.writer.take_if(|_| left || ends);
        drop(inner);
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
        inner.parting.get_or_insert(frame);
        let waker = inner.reader.take();
        drop(inner);
        wake(waker);
    }

    /// Drops what is queued and has the connection dropped.
    pub fn abort(&self) {
        abort(self.lock());
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

    /// For the writer: ready with true when something is queued that nobody else is about to write, with false when
    /// there will be nothing more.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.lock();
        let others_write = inner.promised || inner.wire.is_none();
        match (inner.frames.is_empty(), inner.state) {
            (_, State::Aborted) => Poll::Ready(false),
            (false, _) if !others_write => Poll::Ready(true),
            (true, State::Closing) if !others_write => Poll::Ready(false),
            _ => {
                park(&mut inner.writer, cx);
                Poll::Pending
            }
        }
    }

    /// For the reader, between two messages: whether to take the next one or to close. Pending while more than half of
    /// the outbox is full: a peer that sends faster than it reads is held back, instead of being dropped for answers
    /// to its own messages.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Poll::Ready(Next::Close);
        }
        if let Some(frame) = inner.parting.take() {
            close(inner, frame);
            return Poll::Ready(Next::Close);
        }
        park(&mut inner.reader, cx);
        inner.held_back = inner.full() > self.capacity / 2;
        match inner.held_back {
            true => Poll::Pending,
            false => Poll::Ready(Next::Read),
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

fn abort(mut inner: MutexGuard<'_, Inner>) {
    inner.state = State::Aborted;
    inner.frames.clear();
    inner.begun = false;
    inner.bytes = 0;
    // A connection that has ended is not kept open by those who still know its socket.
    let wire = inner.wire.take();
    let wakers = [inner.writer.take(), inner.reader.take()];
    drop(inner);
    drop(wire);
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
    use std::io::{self, IoSlice};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::message::Message;

    fn frame(payload: usize) -> Frame {
        Frame::message(Message::Binary(&vec![0; payload]))
    }

    /// Takes so many bytes and no more, or is broken.
    #[derive(Default)]
    struct Peer {
        takes: Mutex<usize>,
        got: Mutex<Vec<u8>>,
        broken: AtomicBool,
    }

    impl Peer {
        fn takes(&self, bytes: usize) {
            *self.takes.lock().unwrap() += bytes;
        }

        fn got(&self) -> Vec<u8> {
            self.got.lock().unwrap().clone()
        }
    }

    impl Wire for Peer {
        fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let bytes: Vec<u8> = bytes.iter().flat_map(|slice| slice.to_vec()).collect();
            let mut takes = self.takes.lock().unwrap();
            let taken = bytes.len().min(*takes);
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *takes -= taken;
            self.got.lock().unwrap().extend(&bytes[..taken]);
            Ok(taken)
        }
    }

    fn outbox(capacity: usize) -> (Outbox, Arc<Peer>) {
        let peer = Arc::new(Peer::default());
        (Outbox::new(capacity, peer.clone()), peer)
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn again(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    fn left(outbox: &Outbox, woken: &Arc<Woken>) -> Poll<bool> {
        let waker = Waker::from(woken.clone());
        outbox.poll_left(&mut Context::from_waker(&waker))
    }

    fn next(outbox: &Outbox, woken: &Arc<Woken>) -> Poll<Next> {
        let waker = Waker::from(woken.clone());
        outbox.poll_next(&mut Context::from_waker(&waker))
    }

    #[test]
    fn r7_the_capacity_holds_at_the_limit_and_one_past() {
        let (outbox, peer) = outbox(20);
        assert_eq!(outbox.send(frame(8)), Ok(Accepted::ToBeFlushed));
        assert_eq!(outbox.send(frame(8)), Ok(Accepted::Promised));
        assert_eq!(outbox.buffered(), 20);
        assert_eq!(outbox.send(frame(0)), Err(SendError::Backpressure));
        assert_eq!(outbox.state(), State::Closing);
        assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
        peer.takes(100);
        outbox.flush();
        let close = Frame::close(Some(1008), "Slow consumer");
        assert_eq!(peer.got(), close.as_bytes());
        assert_eq!(left(&outbox, &Arc::default()), Poll::Ready(false));
    }

    #[test]
    fn r7_many_frames_of_next_to_nothing_fill_it_too() {
        let (outbox, _) = outbox(1280);
        for number in 0..FEW + 10 {
            assert!(outbox.send(Frame::ping(b"")).is_ok(), "{number}");
        }
        assert_eq!(outbox.send(Frame::ping(b"")), Err(SendError::Backpressure));
    }

    #[test]
    fn a_single_frame_over_the_capacity_passes_when_nothing_waits() {
        let (outbox, _) = outbox(20);
        assert!(outbox.send(frame(100)).is_ok());
        assert_eq!(outbox.send(frame(0)), Err(SendError::Backpressure));
    }

    #[test]
    fn what_the_peer_does_not_take_is_left_to_the_writer_and_still_counts() {
        let (outbox, peer) = outbox(20);
        let woken = Arc::new(Woken::default());
        assert_eq!(left(&outbox, &woken), Poll::Pending);
        assert_eq!(outbox.send(frame(8)), Ok(Accepted::ToBeFlushed));
        assert_eq!(outbox.send(frame(8)), Ok(Accepted::Promised));
        assert!(!woken.again());
        assert_eq!(left(&outbox, &woken), Poll::Pending);
        peer.takes(13);
        outbox.flush();
        assert!(woken.again());
        assert_eq!(outbox.buffered(), 7);
        assert_eq!(left(&outbox, &woken), Poll::Ready(true));
        // Behind what waits for the peer there is nothing to flush.
        assert_eq!(outbox.send(frame(1)), Ok(Accepted::Promised));
        peer.takes(100);
        outbox.flush();
        assert_eq!(outbox.buffered(), 0);
        let all = [frame(8), frame(8), frame(1)];
        assert_eq!(
            peer.got(),
            all.map(|frame| frame.as_bytes().to_vec()).concat()
        );
        assert_eq!(left(&outbox, &woken), Poll::Pending);
    }

    #[test]
    fn r7_a_frame_that_has_begun_ends_before_the_close_frame() {
        let close = Frame::close(Some(1008), "Slow consumer");
        for taken in [0, 9, 10] {
            let (outbox, peer) = outbox(20);
            assert!(outbox.send(frame(8)).is_ok());
            assert!(outbox.send(frame(8)).is_ok());
            peer.takes(taken);
            outbox.flush();
            // Nothing more is taken, which changes nothing about what has begun.
            outbox.flush();
            assert_eq!(outbox.send(frame(20)), Err(SendError::Backpressure));
            peer.takes(100);
            outbox.flush();
            let whole = if taken == 0 { vec![] } else { vec![frame(8)] };
            let all = whole.iter().chain([&close]).map(Frame::as_bytes);
            assert_eq!(peer.got(), all.collect::<Vec<_>>().concat(), "{taken}");
            assert_eq!(outbox.buffered(), 0);
        }
    }

    #[test]
    fn what_is_queued_while_another_writes_is_left_to_the_writer() {
        struct Busy(Mutex<Option<Arc<Outbox>>>);
        impl Wire for Busy {
            fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
                if let Some(outbox) = self.0.lock().unwrap().take() {
                    assert_eq!(outbox.send(frame(3)), Ok(Accepted::ToBeFlushed));
                    outbox.flush();
                    assert_eq!(outbox.buffered(), 3 + 5);
                }
                Ok(bytes[0].len())
            }
        }
        let wire = Arc::new(Busy(Mutex::new(None)));
        let outbox = Arc::new(Outbox::new(20, wire.clone()));
        *wire.0.lock().unwrap() = Some(outbox.clone());
        let woken = Arc::new(Woken::default());
        assert_eq!(left(&outbox, &woken), Poll::Pending);
        assert_eq!(outbox.send(frame(1)), Ok(Accepted::ToBeFlushed));
        outbox.flush();
        assert!(woken.again());
        assert_eq!(outbox.buffered(), 5);
        assert_eq!(left(&outbox, &woken), Poll::Ready(true));
    }

    #[test]
    fn a_broken_connection_ends_reader_and_writer() {
        let (outbox, peer) = outbox(20);
        let (reader, writer) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        assert_eq!(next(&outbox, &reader), Poll::Ready(Next::Read));
        assert_eq!(left(&outbox, &writer), Poll::Pending);
        peer.broken.store(true, Ordering::Relaxed);
        assert!(outbox.send(frame(1)).is_ok());
        outbox.flush();
        assert!(reader.again() && writer.again());
        assert_eq!(outbox.state(), State::Aborted);
        assert_eq!(left(&outbox, &writer), Poll::Ready(false));
        assert_eq!(next(&outbox, &reader), Poll::Ready(Next::Close));
    }

    #[test]
    fn an_ended_connection_is_not_held_by_its_outbox() {
        let (outbox, peer) = outbox(20);
        outbox.abort();
        assert_eq!(Arc::strong_count(&peer), 1);
        assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
    }

    #[test]
    fn v1_what_is_sent_before_the_next_message_goes_out_before_the_close_frame() {
        let (outbox, peer) = outbox(20);
        outbox.close_between_messages(Frame::close(Some(1001), ""));
        assert!(outbox.send(frame(1)).is_ok());
        assert_eq!(next(&outbox, &Arc::default()), Poll::Ready(Next::Close));
        peer.takes(100);
        outbox.flush();
        let all = [frame(1), Frame::close(Some(1001), "")];
        assert_eq!(
            peer.got(),
            all.map(|frame| frame.as_bytes().to_vec()).concat()
        );
        assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
    }

    #[test]
    fn r7_a_reader_is_held_back_over_half_and_woken_when_there_is_room() {
        let (outbox, peer) = outbox(20);
        let woken = Arc::new(Woken::default());
        assert!(outbox.send(frame(8)).is_ok());
        assert_eq!(next(&outbox, &woken), Poll::Ready(Next::Read));
        assert!(outbox.send(frame(0)).is_ok());
        assert_eq!(next(&outbox, &woken), Poll::Pending);
        peer.takes(1);
        outbox.flush();
        assert!(!woken.again());
        peer.takes(1);
        outbox.flush();
        assert!(woken.again());
        assert_eq!(next(&outbox, &woken), Poll::Ready(Next::Read));
    }

    #[test]
    fn closing_twice_is_closing_once() {
        let (outbox, _) = outbox(20);
        outbox.close(Frame::close(Some(4000), ""));
        outbox.close(Frame::close(Some(4001), ""));
        assert_eq!(outbox.buffered(), 4);
    }
}
