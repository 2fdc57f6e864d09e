//! A turn: what a task does from the moment it is polled until it gives the thread away. What it queues meanwhile is
//! written when the turn ends, by itself: each socket gets one write, and no other task has to be woken for it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;

use super::Socket;

/// Sockets that one turn writes to by itself: some milliseconds' worth. What more there are their own connections
/// write to, so that the turn ends and others have theirs.
const MOST: usize = 1024;

thread_local! {
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    static QUEUED: RefCell<Vec<Arc<Socket>>> = const { RefCell::new(Vec::new()) };
}

/// Does something as a turn. Inside a turn it is part of that one.
pub fn turn<T>(work: impl FnOnce() -> T) -> T {
    let _end = (!IN_TURN.replace(true)).then(|| End);
    work()
}

/// Does something that waits as turns, one for each time that it runs.
pub async fn in_turns<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| turn(|| work.as_mut().poll(cx))).await
}

/// Sees to it that what was queued to a socket is written: when the turn ends, or by its connection when there is none.
pub(super) fn flush_at_the_end(socket: &Arc<Socket>) {
    if IN_TURN.get() {
        QUEUED.with_borrow_mut(|queued| queued.push(socket.clone()));
    } else {
        socket.outbox().leave_to_writer();
    }
}

/// The end of a turn, however it comes.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        IN_TURN.set(false);
        let mut queued = QUEUED.with_borrow_mut(take);
        for socket in queued.drain(..queued.len().min(MOST)) {
            socket.outbox().flush();
        }
        for socket in queued.drain(..) {
            socket.outbox().leave_to_writer();
        }
        if queued.capacity() <= MOST {
            QUEUED.set(queued);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SlowConsumer;
    use crate::hub::{Frame, Outbox, Wire};
    use crate::ids::{NodeId, SocketId};
    use std::io::{self, IoSlice};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Writes(AtomicUsize);

    impl Wire for Writes {
        fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.iter().map(|slice| slice.len()).sum())
        }
    }

    fn socket(wire: &Arc<Writes>) -> Arc<Socket> {
        let id = SocketId::random(NodeId::random().unwrap()).unwrap();
        let outbox = Outbox::new(1000, SlowConsumer::Close, Arc::default(), wire.clone());
        Arc::new(Socket::new(id, [127, 0, 0, 1].into(), None, outbox))
    }

    #[test]
    fn what_a_turn_queues_leaves_in_one_write_for_each_socket() {
        let writes = Arc::new(Writes::default());
        let sockets = [socket(&writes), socket(&writes)];
        let count = || writes.0.load(Ordering::Relaxed);
        turn(|| {
            for _ in 0..3 {
                turn(|| {
                    sockets
                        .iter()
                        .for_each(|socket| socket.send(Frame::ping(b"")).unwrap())
                });
            }
            assert_eq!(count(), 0);
        });
        assert_eq!(count(), 2);
        // Outside of a turn the connection has to see to it.
        sockets[0].send(Frame::ping(b"")).unwrap();
        assert_eq!(count(), 2);
        assert_eq!(sockets[0].outbox().buffered(), 2);
    }

    #[test]
    fn a_turn_writes_to_so_many_sockets_and_leaves_the_others_to_their_connections() {
        let writes = Arc::new(Writes::default());
        let sockets: Vec<_> = (0..=MOST).map(|_| socket(&writes)).collect();
        turn(|| {
            sockets
                .iter()
                .for_each(|socket| socket.send(Frame::ping(b"")).unwrap())
        });
        assert_eq!(writes.0.load(Ordering::Relaxed), MOST);
        assert_eq!(sockets[MOST].outbox().buffered(), 2);
    }

    #[test]
    fn a_turn_that_panics_ends_too() {
        let writes = Arc::new(Writes::default());
        let socket = socket(&writes);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            turn(|| {
                socket.send(Frame::ping(b"")).unwrap();
                panic!("as told");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(writes.0.load(Ordering::Relaxed), 1);
    }
}
