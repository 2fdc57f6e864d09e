//! Notices peers that are gone without a word: silent connections are pinged, and dropped when nothing comes of it.
//!
//! Nothing is armed for a connection. When something has come from its peer it notes the tick, if that is another one;
//! and one task looks after all of them: at each tick it goes through a list, where most are not due, and nudges those
//! that were silent for too long. Such a connection then looks itself whether its peer is there, because only it knows
//! what it has read: who is held back by an outbox that is half full reads nothing, and so cannot hear a pong. Then it
//! counts whether the peer takes what it is sent. Who waits for a handler, a limit or what has been read already is not
//! judged at all.

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use slab::Slab;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::Timeouts;
use crate::hub::{Seen, Socket};

/// How many ticks the shorter of the two times has, unless that is faster or slower than ticks go.
const TICKS: u32 = 16;
/// From one tick to the next, at least and at most.
const FASTEST: Duration = Duration::from_millis(5);
const SLOWEST: Duration = Duration::from_millis(250);
/// Connections that are gone through at once, and nudged at once; then others have their turn.
const AT_ONCE: usize = 1024;
const NUDGED_AT_ONCE: usize = 128;

/// Who looks after the connections of a server.
pub struct Keepalive {
    tick: Duration,
    times: Option<Times>,
    /// How many ticks there have been.
    now: AtomicU64,
    watched: Mutex<Slab<Entry>>,
}

/// In ticks.
#[derive(Clone, Copy)]
struct Times {
    /// How long a connection may be silent until it is pinged.
    ping: u64,
    /// From a ping to the end.
    pong: u64,
}

struct Entry {
    /// At which tick to look again.
    due: u64,
    socket: Arc<Socket>,
}

/// What a connection does about its peer's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Wait,
    /// It asks for a pong.
    Ping,
    /// It drops it.
    Drop,
}

impl Keepalive {
    /// Nobody is watched yet.
    #[must_use]
    pub fn new(timeouts: &Timeouts) -> Arc<Self> {
        let (ping, pong) = (timeouts.ping(), timeouts.pong());
        let shorter = ping.map_or(pong, |ping| ping.min(pong));
        let tick = (shorter / TICKS).clamp(FASTEST, SLOWEST);
        // One more, because the first is not a whole one.
        let ticks = |time: Duration| time.as_nanos().div_ceil(tick.as_nanos()) as u64 + 1;
        Arc::new(Self {
            tick,
            times: ping.map(|ping| Times {
                ping: ticks(ping),
                pong: ticks(pong),
            }),
            now: AtomicU64::new(0),
            watched: Mutex::default(),
        })
    }

    /// Looks after all connections. It does not end.
    pub async fn run(&self) {
        let Some(times) = self.times else {
            return pending().await;
        };
        loop {
            // Not an interval: time in which nobody runs, be it a busy machine or a stopped process, is no silence.
            sleep(self.tick).await;
            let now = self.now.load(Ordering::Relaxed) + 1;
            self.now.store(now, Ordering::Relaxed);
            let mut next = Some(0);
            while let Some(from) = next {
                next = self.go_through(from, now, times);
                yield_now().await;
            }
        }
    }

    /// Nudges those that have been silent, among some from this place of the list on. Returns where to go on.
    fn go_through(&self, from: usize, now: u64, times: Times) -> Option<usize> {
        let mut silent = Vec::new();
        let mut watched = self.lock();
        let end = watched.capacity();
        let mut key = from;
        while key < end.min(from + AT_ONCE) && silent.len() < NUDGED_AT_ONCE {
            if let Some(entry) = watched.get_mut(key).filter(|entry| entry.due <= now) {
                let due = entry.socket.heard() + times.ping;
                entry.due = due;
                if due <= now {
                    // Until something comes of it.
                    entry.due = now + (times.pong / 8).max(1);
                    silent.push(entry.socket.clone());
                }
            }
            key += 1;
        }
        drop(watched);
        for socket in silent {
            socket.outbox().nudge();
        }
        (key < end).then_some(key)
    }

    /// Has a socket looked after for as long as what is returned lives.
    pub(super) fn watch(self: &Arc<Self>, socket: &Arc<Socket>) -> Watched {
        let now = self.now.load(Ordering::Relaxed);
        socket.hear(now);
        Watched {
            keepalive: self.clone(),
            socket: socket.clone(),
            key: self.times.map_or(0, |times| {
                self.lock().insert(Entry {
                    due: now + times.ping,
                    socket: socket.clone(),
                })
            }),
            asked: AtomicU64::new(0),
        }
    }

    // Nothing panics while holding the lock; were it poisoned all the same, the list would still be whole.
    fn lock(&self) -> MutexGuard<'_, Slab<Entry>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that is looked after.
pub(super) struct Watched {
    keepalive: Arc<Keepalive>,
    socket: Arc<Socket>,
    /// Where it is in the list, when anybody is watched.
    key: usize,
    /// At which tick it was pinged last, or found not to take what waits for it, which asks as much; 0: never.
    asked: AtomicU64,
}

impl Watched {
    /// What to do when it has been nudged and there is nothing to read, or it does not read now. `is_at_work`: whether that
    /// is because it has still to do with what it has read.
    pub(super) fn judge(&self, is_at_work: bool) -> Verdict {
        let now = self.keepalive.now.load(Ordering::Relaxed);
        let Seen { stuck, moved } = self.socket.outbox().look();
        if moved || is_at_work {
            self.socket.hear(now);
        }
        let heard = self.socket.heard();
        let asked = self.asked.load(Ordering::Relaxed);
        match self.keepalive.times {
            Some(Times { pong, .. }) if asked > heard => match now - asked >= pong {
                true => Verdict::Drop,
                false => Verdict::Wait,
            },
            Some(Times { ping, .. }) if now.saturating_sub(heard) >= ping => {
                self.asked.store(now, Ordering::Relaxed);
                // A ping would wait behind what is not taken.
                match stuck {
                    true => Verdict::Wait,
                    false => Verdict::Ping,
                }
            }
            _ => Verdict::Wait,
        }
    }

    /// A stream that notes when something comes from its peer.
    pub(super) fn listen<R>(self, stream: R) -> Listened<R> {
        Listened {
            stream,
            watched: self,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.keepalive.times.is_some() {
            let entry = self.keepalive.lock().try_remove(self.key);
            drop(entry);
        }
    }
}

/// A stream of which every byte is a sign of life.
pub(super) struct Listened<R> {
    stream: R,
    watched: Watched,
}

impl<R> Listened<R> {
    /// See [`Watched::judge`].
    pub(super) fn judge(&self, is_at_work: bool) -> Verdict {
        self.watched.judge(is_at_work)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Listened<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let watched = &self.watched;
            watched
                .socket
                .hear(watched.keepalive.now.load(Ordering::Relaxed));
        }
        polled
    }
}
