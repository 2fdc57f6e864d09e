use super::*;
use crate::config::SlowConsumer;
use crate::hub::{Frame, Outbox, Wire};
use crate::ids::{NodeId, SocketId};
use std::io::IoSlice;

/// Takes nothing but what it is told to.
#[derive(Default)]
struct Peer(Mutex<usize>);

impl Wire for Peer {
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: usize = bytes.iter().map(|slice| slice.len()).sum();
        let mut takes = self.0.lock().unwrap();
        let taken = bytes.min(*takes);
        *takes -= taken;
        match taken {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }
}

fn keepalive(ping_ms: u64, pong_ms: u64) -> Arc<Keepalive> {
    Keepalive::new(&Timeouts {
        ping_ms,
        pong_ms,
        ..Timeouts::default()
    })
}

fn socket(peer: &Arc<Peer>) -> Arc<Socket> {
    let id = SocketId::random(NodeId::random().unwrap()).unwrap();
    let outbox = Outbox::new(1000, SlowConsumer::Close, Arc::default(), peer.clone());
    Arc::new(Socket::new(id, [127, 0, 0, 1].into(), None, outbox))
}

/// The ticks after which something else than waiting is decided, when each tick asks.
fn decided(watched: &Watched, ticks: u64) -> Vec<(u64, Verdict)> {
    let now = &watched.keepalive.now;
    let each = (0..ticks).map(|_| {
        (
            now.fetch_add(1, Ordering::Relaxed) + 1,
            watched.judge(false),
        )
    });
    each.filter(|(_, verdict)| *verdict != Verdict::Wait)
        .collect()
}

#[test]
fn c9_a_silent_peer_is_pinged_and_dropped_when_it_stays_silent() {
    // Ticks of 5 ms.
    let keepalive = keepalive(50, 25);
    let watched = keepalive.watch(&socket(&Arc::default()));
    let expected = [(11, Verdict::Ping), (17, Verdict::Drop)];
    assert_eq!(decided(&watched, 17), expected);
}

#[test]
fn c9_a_peer_that_answers_is_pinged_when_it_is_silent_again() {
    let keepalive = keepalive(50, 25);
    let watched = keepalive.watch(&socket(&Arc::default()));
    assert_eq!(decided(&watched, 11), [(11, Verdict::Ping)]);
    // In the same tick.
    watched.socket.hear(11);
    assert_eq!(decided(&watched, 11), [(22, Verdict::Ping)]);
    assert_eq!(decided(&watched, 5), []);
    watched.socket.hear(27);
    assert_eq!(decided(&watched, 10), []);
    watched.socket.hear(37);
    assert_eq!(decided(&watched, 11), [(48, Verdict::Ping)]);
}

#[test]
fn c9_a_peer_that_takes_what_it_is_sent_is_there() {
    let keepalive = keepalive(50, 25);
    let peer = Arc::new(Peer::default());
    let socket = socket(&peer);
    let watched = keepalive.watch(&socket);
    let flush = |takes: usize| {
        *peer.0.lock().unwrap() = takes;
        socket.outbox().flush();
    };
    assert!(socket.outbox().send(Frame::ping(b"12345678")).is_ok());
    flush(1);
    assert_eq!(decided(&watched, 16), []);
    flush(1);
    assert_eq!(decided(&watched, 17), []);
    assert_eq!(decided(&watched, 1), [(34, Verdict::Drop)]);
    // It counts from when that was seen.
    flush(1);
    assert_eq!(decided(&watched, 1), []);
    flush(100);
    assert_eq!(decided(&watched, 11), []);
}

#[test]
fn c9_who_is_due_is_nudged_and_who_has_been_heard_of_is_not() {
    let keepalive = keepalive(50, 25);
    let times = keepalive.times.unwrap();
    let peer = Arc::default();
    let sockets: Vec<_> = (0..AT_ONCE + 1).map(|_| socket(&peer)).collect();
    let mut watched: Vec<_> = sockets.iter().map(|it| keepalive.watch(it)).collect();
    for socket in &sockets[2 * NUDGED_AT_ONCE..AT_ONCE] {
        socket.hear(1);
    }
    let nudged = || {
        let is_nudged = |socket: &&Arc<Socket>| {
            let waker = std::task::Waker::noop();
            let next = socket.outbox().poll_next(&mut Context::from_waker(waker));
            socket.outbox().look();
            matches!(
                next,
                Poll::Ready(crate::hub::Next::Read { nudged: true, .. })
            )
        };
        sockets.iter().filter(is_nudged).count()
    };
    assert_eq!(keepalive.go_through(0, 10, times), Some(AT_ONCE));
    assert_eq!(nudged(), 0);

    assert_eq!(keepalive.go_through(0, 11, times), Some(NUDGED_AT_ONCE));
    assert_eq!(nudged(), NUDGED_AT_ONCE);
    let mut from = Some(NUDGED_AT_ONCE);
    while let Some(next) = from {
        from = keepalive.go_through(next, 11, times);
    }
    assert_eq!(nudged(), NUDGED_AT_ONCE + 1);
    // Those not again at once, and the others when they are due.
    keepalive.go_through(0, 11, times);
    assert_eq!(nudged(), 0);
    keepalive.go_through(2 * NUDGED_AT_ONCE, 12, times);
    assert_eq!(nudged(), NUDGED_AT_ONCE);

    watched.truncate(1);
    assert_eq!(keepalive.lock().len(), 1);
    watched.clear();
    assert!(keepalive.lock().is_empty());
}

#[tokio::test]
async fn c9_every_byte_is_a_sign_of_life() {
    let keepalive = keepalive(50, 25);
    let socket = socket(&Arc::default());
    let watched = keepalive.watch(&socket);
    keepalive.now.store(7, Ordering::Relaxed);
    let mut stream = watched.listen(&b"ab"[..]);
    let mut byte = [0];
    tokio::io::AsyncReadExt::read(&mut stream, &mut byte)
        .await
        .unwrap();
    assert_eq!(socket.heard(), 7);
    keepalive.now.store(8, Ordering::Relaxed);
    tokio::io::AsyncReadExt::read(&mut stream, &mut byte)
        .await
        .unwrap();
    assert_eq!(socket.heard(), 8);
    // The end is none.
    keepalive.now.store(9, Ordering::Relaxed);
    tokio::io::AsyncReadExt::read(&mut stream, &mut byte)
        .await
        .unwrap();
    assert_eq!(socket.heard(), 8);
}

#[test]
fn c9_nobody_is_watched_when_nobody_is_pinged() {
    let keepalive = keepalive(0, 25);
    let watched = keepalive.watch(&socket(&Arc::default()));
    assert!(keepalive.lock().is_empty());
    assert_eq!(decided(&watched, 1000), []);
}

#[test]
fn a_tick_is_a_part_of_the_shorter_time() {
    for (ping, pong, tick) in [
        (30_000, 10_000, 250),
        (320, 1600, 20),
        (1600, 320, 20),
        (1, 1, 5),
        (0, 320, 20),
    ] {
        let tick = Duration::from_millis(tick);
        assert_eq!(keepalive(ping, pong).tick, tick, "{ping} {pong}");
    }
}
