mod slow;

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use super::*;
use crate::message::Message;

/// Take the next message, and there is nothing else to see to.
const READ: Next = Next::Read {
    drained: false,
    nudged: false,
};

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
    outbox_that(SlowConsumer::Close, capacity)
}

fn outbox_that(policy: SlowConsumer, capacity: usize) -> (Outbox, Arc<Peer>) {
    let peer = Arc::new(Peer::default());
    let outbox = Outbox::new(capacity, policy, Arc::default(), peer.clone());
    (outbox, peer)
}

/// What they are on the wire.
fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| frame.as_bytes())
        .copied()
        .collect()
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
fn r7_what_a_burst_took_is_given_back_when_it_is_written() {
    let (outbox, peer) = outbox(1 << 20);
    for burst in [10, 5000] {
        peer.takes(1 << 20);
        (0..burst).for_each(|_| assert!(outbox.send(frame(1)).is_ok()));
        while outbox.buffered() > 0 {
            outbox.flush();
        }
        let room = outbox.lock().frames.capacity();
        assert!(room <= FEW, "for {room} frames after {burst}");
    }
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
    assert_eq!(peer.got(), bytes_of(&[frame(8), frame(8), frame(1)]));
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
    let outbox = Outbox::new(20, SlowConsumer::Close, Arc::default(), wire.clone());
    let outbox = Arc::new(outbox);
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
    assert_eq!(next(&outbox, &reader), Poll::Ready(READ));
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
    assert_eq!(peer.got(), bytes_of(&all));
    assert_eq!(outbox.send(frame(1)), Err(SendError::Closed));
}

#[test]
fn r7_a_reader_is_held_back_over_half_and_woken_when_there_is_room() {
    let (outbox, peer) = outbox(20);
    let woken = Arc::new(Woken::default());
    assert!(outbox.send(frame(8)).is_ok());
    assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
    assert!(outbox.send(frame(0)).is_ok());
    assert_eq!(next(&outbox, &woken), Poll::Pending);
    peer.takes(1);
    outbox.flush();
    assert!(!woken.again());
    peer.takes(1);
    outbox.flush();
    assert!(woken.again());
    assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
}

#[test]
fn closing_twice_is_closing_once() {
    let (outbox, _) = outbox(20);
    outbox.close(Frame::close(Some(4000), ""));
    outbox.close(Frame::close(Some(4001), ""));
    assert_eq!(outbox.buffered(), 4);
}

#[test]
fn who_waits_for_the_operating_system_hears_that_the_socket_is_aborted() {
    let (outbox, _) = outbox(20);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(outbox.send(frame(8)).is_ok());
    outbox.flush();
    assert_eq!(outbox.poll_aborted_writing(cx), Poll::Pending);
    assert!(!woken.again());
    outbox.abort();
    assert!(woken.again());
    assert_eq!(outbox.poll_aborted_writing(cx), Poll::Ready(()));
}
