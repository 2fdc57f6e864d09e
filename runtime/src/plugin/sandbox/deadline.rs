//! How long a call may take.
//!
//! A guest's own time is counted in epoch ticks of a millisecond: at each, it hands the thread back, so that others
//! run, and when its ticks are used up it traps. What it waits for in a host function counts against the same limit,
//! by the clock. Time in which it could run but others do counts for nobody.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::Sleep;
use wasmtime::UpdateDeadline;

/// How long an epoch lasts.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A call took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call took longer than {limit_ms} ms (limits.deadline-ms)")]
pub struct Overrun {
    limit_ms: u32,
}

/// Counts the time of one call at a time. It is shared by the store, whose ticks it counts, and by whoever awaits
/// the call.
#[derive(Clone, Debug)]
pub struct Clock(Arc<State>);

#[derive(Debug)]
struct State {
    limit_ms: u32,
    /// Milliseconds that the guest may still compute in this call.
    left: AtomicU32,
    /// Whether the guest has just given the thread away on its own account, and so waits for nothing.
    yielded: AtomicBool,
}

impl Clock {
    /// A clock that allows `limit_ms` milliseconds a call.
    #[must_use]
    pub fn new(limit_ms: u32) -> Self {
        Self(Arc::new(State {
            limit_ms,
            left: AtomicU32::new(limit_ms),
            yielded: AtomicBool::new(false),
        }))
    }

    /// For the store's epoch callback: one tick has passed in the guest.
    ///
    /// # Errors
    /// It was the last one allowed.
    pub fn tick(&self) -> Result<UpdateDeadline, Overrun> {
        match self.0.left.load(Ordering::Relaxed).checked_sub(1) {
            Some(left @ 1..) => {
                self.0.left.store(left, Ordering::Relaxed);
                self.0.yielded.store(true, Ordering::Relaxed);
                // Behind the driver: what comes from the network meanwhile is not kept waiting by guests that compute.
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
            }
            _ => Err(self.overrun()),
        }
    }

    /// Runs one call. It is pinned where the caller has it: a copy of it here would be in the task of each connection.
    ///
    /// # Errors
    /// It waited too long: `call` was dropped half-way, and its store must not be entered again.
    pub async fn run<F: Future>(&self, mut call: Pin<&mut F>) -> Result<F::Output, Overrun> {
        self.0.left.store(self.0.limit_ms, Ordering::Relaxed);
        let mut allowed = Duration::from_millis(self.0.limit_ms.into());
        let mut waiting_since: Option<Instant> = None;
        // Most calls never wait, and so never touch the timer.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |cx| {
            if let Some(since) = waiting_since.take() {
                allowed = allowed.saturating_sub(since.elapsed());
            }
            self.0.yielded.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = call.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.0.yielded.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if allowed.is_zero() {
                return Poll::Ready(Err(self.overrun()));
            }
            let now = Instant::now();
            waiting_since = Some(now);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
            timer.as_mut().reset((now + allowed).into());
            timer.as_mut().poll(cx).map(|()| Err(self.overrun()))
        })
        .await
    }

    fn overrun(&self) -> Overrun {
        Overrun {
            limit_ms: self.0.limit_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn c6_waiting_counts_and_ends_the_call() {
        let clock = Clock::new(20);
        let outcome = clock.run(pin!(std::future::pending::<()>())).await;
        assert_eq!(outcome, Err(Overrun { limit_ms: 20 }));
    }

    #[tokio::test]
    async fn c6_the_last_tick_ends_the_call_and_the_next_call_starts_anew() {
        let clock = Clock::new(3);
        for _ in 0..2 {
            let ticks = async || (0..4).map(|_| clock.tick().is_ok()).collect::<Vec<_>>();
            assert_eq!(
                clock.run(pin!(ticks())).await.unwrap(),
                [true, true, false, false]
            );
        }
    }
}
