//! How long a call may take.
//!
//! A guest's own time is counted in epoch ticks of a millisecond: at each, it hands the thread back, so that others
//! run, and when its ticks are used up it traps. What it waits for in a host function counts against the same limit,
//! by the clock. Time in which it could run but others do counts for nobody.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::Sleep;
use wasmtime::UpdateDeadline;

use crate::config::Limits;

/// How long an epoch lasts.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// How long a call may take, and which settings say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Milliseconds for what it computes and what it waits for together.
    total_ms: u32,
    /// Milliseconds of these that it may compute.
    compute_ms: u32,
    /// The setting that `total_ms` comes from.
    setting: &'static str,
}

impl Deadline {
    /// For the handlers of a namespace and of a middleware: they may compute all the time.
    #[must_use]
    pub fn of_event(limits: &Limits) -> Self {
        Self {
            total_ms: limits.deadline_ms,
            compute_ms: limits.deadline_ms,
            setting: "limits.deadline-ms",
        }
    }

    /// For an HTTP request to a controller.
    #[must_use]
    pub fn of_request(limits: &Limits) -> Self {
        Self {
            total_ms: limits.request_deadline_ms,
            compute_ms: limits.compute_ms,
            setting: "limits.request-deadline-ms",
        }
    }

    /// For a call of a service.
    #[must_use]
    pub fn of_job(limits: &Limits) -> Self {
        Self {
            total_ms: limits.job_deadline_ms,
            compute_ms: limits.compute_ms,
            setting: "limits.job-deadline-ms",
        }
    }
}

/// A call took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// What it computed and what it waited for, together.
    #[error("the call took longer than {} ms ({})", .0.total_ms, .0.setting)]
    Total(Deadline),
    /// What it computed.
    #[error("the call computed for longer than {} ms (limits.compute-ms)", .0.compute_ms)]
    Compute(Deadline),
}

/// Counts the time of one call at a time. It is shared by the store, whose ticks it counts, and by whoever awaits
/// the call.
#[derive(Clone, Debug)]
pub struct Clock(Arc<State>);

#[derive(Debug)]
struct State {
    deadline: Deadline,
    /// Microseconds that this call may still compute and wait.
    left: AtomicU64,
    /// Milliseconds that the guest may still compute in it.
    compute_left: AtomicU32,
    /// Whether the guest has just given the thread away on its own account, and so waits for nothing.
    yielded: AtomicBool,
}

impl Clock {
    /// A clock that allows each call so much.
    #[must_use]
    pub fn new(deadline: Deadline) -> Self {
        Self(Arc::new(State {
            left: AtomicU64::new(0),
            compute_left: AtomicU32::new(0),
            yielded: AtomicBool::new(false),
            deadline,
        }))
    }

    /// For the store's epoch callback: one tick has passed in the guest.
    ///
    /// # Errors
    /// It was the last one allowed.
    pub fn tick(&self) -> Result<UpdateDeadline, Overrun> {
        let state = &*self.0;
        if self.spend(TICK) {
            return Err(Overrun::Total(state.deadline));
        }
        let compute_left = state.compute_left.load(Ordering::Relaxed).saturating_sub(1);
        state.compute_left.store(compute_left, Ordering::Relaxed);
        if compute_left == 0 {
            return Err(Overrun::Compute(state.deadline));
        }
        state.yielded.store(true, Ordering::Relaxed);
        // Behind the driver: what comes from the network meanwhile is not kept waiting by guests that compute.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
    }

    /// Runs one call. It is pinned where the caller has it: a copy of it here would be in the task of each connection.
    ///
    /// # Errors
    /// It waited too long: `call` was dropped half-way, and its store must not be entered again.
    pub async fn run<F: Future>(&self, mut call: Pin<&mut F>) -> Result<F::Output, Overrun> {
        let state = &*self.0;
        let total = u64::from(state.deadline.total_ms) * 1000;
        state.left.store(total, Ordering::Relaxed);
        let compute = state.deadline.compute_ms;
        state.compute_left.store(compute, Ordering::Relaxed);
        let mut waiting_since: Option<Instant> = None;
        // Most calls never wait, and so never touch the timer.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |cx| {
            let spent = waiting_since
                .take()
                .is_some_and(|since| self.spend(since.elapsed()));
            state.yielded.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = call.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if state.yielded.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            let overrun = Err(Overrun::Total(state.deadline));
            if spent {
                return Poll::Ready(overrun);
            }
            let now = Instant::now();
            waiting_since = Some(now);
            let left = Duration::from_micros(state.left.load(Ordering::Relaxed));
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            timer.as_mut().reset((now + left).into());
            timer.as_mut().poll(cx).map(|()| overrun)
        })
        .await
    }

    /// Takes time off what is left of the call. Returns whether that was all.
    fn spend(&self, time: Duration) -> bool {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let left = self.0.left.load(Ordering::Relaxed).saturating_sub(micros);
        self.0.left.store(left, Ordering::Relaxed);
        left == 0
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn deadline(total_ms: u32, compute_ms: u32) -> Deadline {
        Deadline {
            total_ms,
            compute_ms,
            setting: "limits.deadline-ms",
        }
    }

    #[tokio::test]
    async fn c6_waiting_counts_and_ends_the_call() {
        let clock = Clock::new(deadline(20, 20));
        let outcome = clock.run(pin!(std::future::pending::<()>())).await;
        assert_eq!(outcome, Err(Overrun::Total(deadline(20, 20))));
    }

    #[tokio::test]
    async fn c6_the_last_tick_ends_the_call_and_the_next_call_starts_anew() {
        let clock = Clock::new(deadline(3, 3));
        for _ in 0..2 {
            let ticks = async || (0..4).map(|_| clock.tick().is_ok()).collect::<Vec<_>>();
            assert_eq!(
                clock.run(pin!(ticks())).await.unwrap(),
                [true, true, false, false]
            );
        }
    }

    #[tokio::test]
    async fn c6_what_is_computed_has_a_limit_of_its_own() {
        let clock = Clock::new(deadline(1000, 2));
        let ticks = async || [clock.tick().err(), clock.tick().err()];
        let ended = Some(Overrun::Compute(deadline(1000, 2)));
        assert_eq!(clock.run(pin!(ticks())).await.unwrap(), [None, ended]);
    }

    #[tokio::test]
    async fn c6_computing_and_waiting_count_together() {
        let clock = Clock::new(deadline(60_000, 60_000));
        let both = async {
            for _ in 0..59_990 {
                assert!(clock.tick().is_ok());
                yield_now().await;
            }
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        let outcome = clock.run(pin!(both)).await;
        assert_eq!(outcome, Err(Overrun::Total(deadline(60_000, 60_000))));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
