//! Peers that read too slowly, under each policy, and what their connections hear of it.

use super::super::task::AT_ONCE;
use super::*;

/// A message that can be told from others: `payload` bytes of this value.
fn of(value: u8, payload: usize) -> Frame {
    Frame::message(Message::Binary(&vec![value; payload]))
}

fn flushed(outbox: &Outbox, peer: &Peer) -> Vec<u8> {
    peer.takes(1 << 20);
    outbox.flush();
    peer.got()
}

fn sweep(outbox: &Outbox, woken: &Arc<Woken>) -> Poll<()> {
    let waker = Waker::from(woken.clone());
    outbox.poll_swept(&mut Context::from_waker(&waker))
}

#[test]
fn r7_drop_newest_leaves_out_what_there_is_no_room_for() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropNewest, 20);
    assert!(outbox.send(of(1, 8)).is_ok());
    assert!(outbox.send(of(2, 8)).is_ok());
    assert_eq!(outbox.send(of(3, 0)), Err(SendError::Backpressure));
    assert_eq!((outbox.buffered(), outbox.dropped()), (20, 1));
    assert_eq!((outbox.traffic.dropped(), outbox.traffic.slow()), (1, 0));
    assert_eq!(outbox.state(), State::Open);

    peer.takes(2);
    outbox.flush();
    assert!(outbox.send(of(4, 0)).is_ok());
    assert_eq!(outbox.send(of(5, 0)), Err(SendError::Backpressure));
    let all = [of(1, 8), of(2, 8), of(4, 0)];
    assert_eq!(flushed(&outbox, &peer), bytes_of(&all));
}

#[test]
fn r7_drop_oldest_makes_room_at_the_limit_and_one_past() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropOldest, 20);
    assert!(outbox.send(of(1, 3)).is_ok());
    assert!(outbox.send(of(2, 8)).is_ok());
    assert!(outbox.send(of(3, 3)).is_ok());
    assert_eq!((outbox.buffered(), outbox.dropped()), (20, 0));
    // One byte more than the first one makes room for.
    assert!(outbox.send(of(4, 4)).is_ok());
    assert_eq!((outbox.buffered(), outbox.dropped()), (11, 2));
    assert!(outbox.send(of(5, 7)).is_ok());
    assert_eq!((outbox.buffered(), outbox.dropped()), (20, 2));
    assert!(outbox.send(of(6, 3)).is_ok());
    assert_eq!((outbox.traffic.dropped(), outbox.traffic.slow()), (3, 0));
    let all = [of(4, 4), of(5, 7), of(6, 3)];
    assert_eq!(flushed(&outbox, &peer), bytes_of(&all));
}

#[test]
fn r7_drop_oldest_never_drops_a_frame_that_has_begun() {
    for taken in 1..9 {
        let (outbox, peer) = outbox_that(SlowConsumer::DropOldest, 20);
        assert!(outbox.send(of(1, 8)).is_ok());
        assert!(outbox.send(of(2, 8)).is_ok());
        peer.takes(taken);
        outbox.flush();
        assert!(outbox.send(of(3, 8)).is_ok());
        assert_eq!(outbox.dropped(), 1, "{taken}");
        // With what has begun there is no room for it, and nothing else is dropped in vain.
        assert_eq!(outbox.send(of(4, 9 + taken)), Err(SendError::Backpressure));
        assert_eq!(outbox.dropped(), 2, "{taken}");
        let all = [of(1, 8), of(3, 8)];
        assert_eq!(flushed(&outbox, &peer), bytes_of(&all), "{taken}");
    }
}

#[test]
fn r7_drop_oldest_lets_a_frame_over_the_capacity_pass_alone() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropOldest, 20);
    assert!(outbox.send(of(1, 8)).is_ok());
    assert!(outbox.send(of(2, 100)).is_ok());
    assert_eq!((outbox.buffered(), outbox.dropped()), (102, 1));
    assert!(outbox.send(of(3, 1)).is_ok());
    assert_eq!((outbox.buffered(), outbox.dropped()), (3, 2));
    assert_eq!(flushed(&outbox, &peer), bytes_of(&[of(3, 1)]));
}

#[test]
fn r7_drop_oldest_spares_a_few_control_frames() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropOldest, 20);
    let pong = Frame::pong(b"x");
    assert!(outbox.send(pong.clone()).is_ok());
    assert!(outbox.send(of(1, 6)).is_ok());
    assert!(outbox.send(of(2, 7)).is_ok());
    assert!(outbox.send(of(3, 7)).is_ok());
    assert_eq!(outbox.dropped(), 2);
    let all = [pong, of(3, 7)];
    assert_eq!(flushed(&outbox, &peer), bytes_of(&all));

    // But not many.
    let (outbox, _) = outbox_that(SlowConsumer::DropOldest, 1280);
    for number in 0..10_000 {
        assert!(outbox.send(Frame::ping(b"")).is_ok(), "{number}");
    }
    assert_eq!(outbox.buffered(), 2 * (FEW + 10));
}

#[test]
fn r7_the_newest_gets_through_also_while_another_writes() {
    /// Sends more while a write is under way, of which nothing is taken.
    struct Busy(Mutex<Option<Arc<Outbox>>>);
    impl Wire for Busy {
        fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
            if let Some(outbox) = self.0.lock().unwrap().take() {
                for value in 3..6 {
                    assert!(outbox.send(of(value, 8)).is_ok());
                }
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let [first, second] = bytes else {
                panic!("{} frames", bytes.len())
            };
            assert_eq!((first[2], second[2]), (4, 5));
            Ok(first.len() + second.len())
        }
    }
    let wire = Arc::new(Busy(Mutex::new(None)));
    let policy = SlowConsumer::DropOldest;
    let outbox = Arc::new(Outbox::new(20, policy, Arc::default(), wire.clone()));
    *wire.0.lock().unwrap() = Some(outbox.clone());
    assert!(outbox.send(of(1, 8)).is_ok());
    assert!(outbox.send(of(2, 8)).is_ok());
    outbox.flush();
    assert_eq!((outbox.buffered(), outbox.dropped()), (20, 3));
    outbox.flush();
    assert_eq!(outbox.buffered(), 0);
}

#[test]
fn r7_a_queue_that_was_over_half_full_is_drained_when_it_is_empty() {
    let drained = Poll::Ready(Next::Read {
        drained: true,
        nudged: false,
    });
    for policy in [
        SlowConsumer::Close,
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
    ] {
        let (outbox, peer) = outbox_that(policy, 20);
        let woken = Arc::new(Woken::default());
        // Half is not more than half.
        assert!(outbox.send(frame(8)).is_ok());
        flushed(&outbox, &peer);
        assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
        assert!(!outbox.take_drained());

        let (outbox, peer) = outbox_that(policy, 20);
        assert!(outbox.send(frame(9)).is_ok());
        assert_eq!(next(&outbox, &woken), Poll::Pending);
        peer.takes(10);
        outbox.flush();
        assert!(woken.again());
        assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
        assert!(!outbox.take_drained());
        flushed(&outbox, &peer);
        assert!(woken.again());
        assert_eq!(next(&outbox, &woken), drained);
        assert!(outbox.take_drained());
        assert!(!outbox.take_drained());
        assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
    }
}

#[test]
fn r7_a_queue_of_which_something_was_dropped_is_drained_when_it_is_empty() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropNewest, 20);
    assert!(outbox.send(frame(0)).is_ok());
    assert_eq!(outbox.send(frame(100)), Err(SendError::Backpressure));
    assert!(!outbox.take_drained());
    flushed(&outbox, &peer);
    assert!(outbox.take_drained());
}

#[test]
fn c9_a_nudge_is_heard_by_who_reads_and_by_who_is_held_back() {
    let (outbox, peer) = outbox(20);
    let woken = Arc::new(Woken::default());
    let look = Poll::Ready(Next::Read {
        drained: false,
        nudged: true,
    });
    assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
    outbox.nudge();
    assert!(woken.again());
    assert_eq!(next(&outbox, &woken), look);
    let idle = Seen {
        stuck: false,
        moved: false,
    };
    assert_eq!(outbox.look(), idle);
    assert_eq!(next(&outbox, &woken), Poll::Ready(READ));

    assert!(outbox.send(frame(18)).is_ok());
    assert_eq!(next(&outbox, &woken), Poll::Pending);
    outbox.nudge();
    assert_eq!(next(&outbox, &woken), Poll::Ready(Next::Look));
    assert!(!outbox.look().stuck);
    assert_eq!(next(&outbox, &woken), Poll::Pending);

    // What is taken at once tells nothing of the peer, but what is taken later does.
    peer.takes(1);
    outbox.flush();
    let seen = outbox.look();
    assert!(seen.stuck && !seen.moved);
    outbox.flush();
    assert!(!outbox.look().moved);
    peer.takes(1);
    outbox.flush();
    assert!(outbox.look().moved);
    assert!(!outbox.look().moved);
}

#[test]
fn what_is_dropped_in_thousands_is_let_go_a_few_at_a_time() {
    let full = |policy| {
        let (outbox, _) = outbox_that(policy, 1000 * LEAST);
        while outbox.buffered() < 2 * 1000 {
            assert!(outbox.send(Frame::ping(b"")).is_ok());
        }
        outbox
    };
    let woken = Arc::new(Woken::default());
    let swept = |outbox: &Outbox| {
        for left in [1000 - AT_ONCE, 1000 - 2 * AT_ONCE, 1000 - 3 * AT_ONCE] {
            assert_eq!(sweep(outbox, &woken), Poll::Pending);
            assert!(woken.again());
            assert_eq!(outbox.lock().litter.len(), left);
        }
        assert_eq!(sweep(outbox, &woken), Poll::Ready(()));
        assert!(!woken.again());
    };

    let outbox = full(SlowConsumer::Close);
    outbox.abort();
    swept(&outbox);

    let outbox = full(SlowConsumer::Close);
    assert!(outbox.send(frame(1000 * LEAST)).is_err());
    swept(&outbox);

    let outbox = full(SlowConsumer::DropOldest);
    assert_eq!(next(&outbox, &woken), Poll::Pending);
    assert!(outbox.send(frame(1000 * LEAST)).is_ok());
    assert!(woken.again());
    for left in [1000 - AT_ONCE, 1000 - 2 * AT_ONCE, 1000 - 3 * AT_ONCE, 0] {
        assert_eq!(next(&outbox, &woken), Poll::Pending);
        assert_eq!(woken.again(), left > 0);
        assert_eq!(outbox.lock().litter.len(), left);
    }
}

#[test]
fn what_was_dropped_is_let_go_also_when_the_rest_is_written_first() {
    let (outbox, peer) = outbox_that(SlowConsumer::DropOldest, 1000 * LEAST);
    for _ in 0..1000 {
        assert!(outbox.send(Frame::ping(b"")).is_ok());
    }
    assert!(outbox.send(frame(1000 * LEAST)).is_ok());
    flushed(&outbox, &peer);
    assert_eq!(outbox.buffered(), 0);
    assert!(outbox.take_drained());
    let woken = Arc::new(Woken::default());
    for left in [1000 - AT_ONCE, 1000 - 2 * AT_ONCE, 1000 - 3 * AT_ONCE, 0] {
        assert_eq!(next(&outbox, &woken), Poll::Ready(READ));
        assert_eq!(woken.again(), left > 0);
        assert_eq!(outbox.lock().litter.len(), left);
    }
}
