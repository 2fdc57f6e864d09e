//! How long a call may take.
//!
//! At each epoch tick of a millisecond a guest hands the thread back, so that others run, and what it has computed is
//! counted, the functions of the host that it called among it; when there is nothing left it traps. What it waits for
//! counts against the same limit. Time in which it could run but others do counts for nobody.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::Sleep;
use wasmtime::UpdateDeadline;

use super::super::tally::{Call, Tally};
use super::slices;
use crate::config::Limits;
use crate::quota::Account;

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
    account: Account,
    tally: Arc<Tally>,
    /// What the moments below count from.
    begin: Instant,
    /// Up to when what it computes has been counted, in nanoseconds.
    counted: AtomicU64,
    /// Microseconds that this call may still compute and wait.
    left: AtomicU64,
    /// Microseconds that it may still compute.
    compute_left: AtomicU64,
    /// Whether the guest has just given the thread away on its own account, and so waits for nothing.
    yielded: AtomicBool,
}

impl Clock {
    /// A clock that allows each call so much, has it take turns with those of other tenants, and counts it in the tally.
    #[must_use]
    pub fn new(deadline: Deadline, account: Account, tally: Arc<Tally>) -> Self {
        Self(Arc::new(State {
            begin: Instant::now(),
            counted: AtomicU64::new(0),
            left: AtomicU64::new(0),
            compute_left: AtomicU64::new(0),
            yielded: AtomicBool::new(false),
            deadline,
            account,
            tally,
        }))
    }

    /// For the store's epoch callback: the guest, and what it has called of the host, have computed for a while.
    ///
    /// # Errors
    /// It was the last time allowed.
    pub fn tick(&self) -> Result<UpdateDeadline, Overrun> {
        self.count(Instant::now())?;
        self.0.yielded.store(true, Ordering::Relaxed);
        // Behind the driver: what comes from the network meanwhile is not kept waiting by guests that compute.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
    }

    /// How long the call in hand may still wait.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_micros(self.0.left.load(Ordering::Relaxed))
    }

    /// Runs one call. It is pinned where the caller has it: a copy of it here would be in the task of each connection.
    ///
    /// # Errors
    /// It took too long: `call` was dropped half-way, and its store must not be entered again.
    pub async fn run<F: Future>(
        &self,
        kind: Call,
        mut call: Pin<&mut F>,
    ) -> Result<F::Output, Overrun> {
        let state = &*self.0;
        let Deadline {
            total_ms,
            compute_ms,
            ..
        } = state.deadline;
        let micros = |ms: u32| u64::from(ms) * 1000;
        state.left.store(micros(total_ms), Ordering::Relaxed);
        state
            .compute_left
            .store(micros(compute_ms), Ordering::Relaxed);
        let mut waiting_since: Option<Instant> = None;
        let mut spent = false;
        let mut course = Course::default();
        // Most calls never wait, and so never touch the timer.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut turns = state.account.share().turns();
        let mut capped = state.account.capped().map(|share| share.turns());
        poll_fn(move |cx| {
            let now = Instant::now();
            // What it waits for a turn is not its own time.
            if let Some(since) = waiting_since.take() {
                spent |= self.wait(now.saturating_duration_since(since));
            }
            if let Some(capped) = &mut capped {
                ready!(capped.poll_turn(cx, now));
            }
            ready!(turns.poll_turn(cx, now));
            let begun = *course.begun.get_or_insert(now);
            state.yielded.store(false, Ordering::Relaxed);
            state.counted.store(self.nanos(now), Ordering::Relaxed);
            thread_time::keep_fresh(now);
            let slice = slices::begin(now);
            let polled = call.as_mut().poll(cx);
            drop(slice);
            let since = now;
            let now = Instant::now();
            course.computed += now.saturating_duration_since(since);
            let yielded = polled.is_pending() && state.yielded.load(Ordering::Relaxed);
            turns.end(cx, now, yielded);
            if let Some(capped) = &mut capped {
                capped.end(cx, now, yielded);
            }
            let end = || {
                let taken = now.saturating_duration_since(begun);
                state.tally.count_call(kind, taken, course.computed);
            };
            if let Poll::Ready(output) = polled {
                end();
                return Poll::Ready(Ok(output));
            }
            if yielded {
                return Poll::Pending;
            }
            if let Err(overrun) = self.count(now) {
                end();
                return Poll::Ready(Err(overrun));
            }
            let overrun = Err(Overrun::Total(state.deadline));
            if spent {
                end();
                return Poll::Ready(overrun);
            }
            waiting_since = Some(now);
            let left = Duration::from_micros(state.left.load(Ordering::Relaxed));
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            timer.as_mut().reset((now + left).into());
            timer.as_mut().poll(cx).map(|()| {
                end();
                overrun
            })
        })
        .await
    }

    fn nanos(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.0.begin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// Counts what has been computed since it was last counted.
    fn count(&self, now: Instant) -> Result<(), Overrun> {
        let state = &*self.0;
        let moment = self.nanos(now);
        let before = state.counted.swap(moment, Ordering::Relaxed);
        let mut computed = Duration::from_nanos(moment.saturating_sub(before));
        if computed > UNSUSPICIOUS {
            computed = thread_time::since(now, computed);
        }
        let micros = u64::try_from(computed.as_micros()).unwrap_or(u64::MAX);
        if spend(&state.left, micros) {
            return Err(Overrun::Total(state.deadline));
        }
        if spend(&state.compute_left, micros) {
            return Err(Overrun::Compute(state.deadline));
        }
        Ok(())
    }

    /// Takes what it has waited off what is left of the call. Returns whether that was all.
    fn wait(&self, time: Duration) -> bool {
        spend(
            &self.0.left,
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        )
    }
}

/// How far a call has come.
#[derive(Default)]
struct Course {
    /// When it first had a turn.
    begun: Option<Instant>,
    /// How long it has had threads.
    computed: Duration,
}

/// Takes off what is left. Returns whether that was all.
fn spend(left: &AtomicU64, micros: u64) -> bool {
    let after = left.load(Ordering::Relaxed).saturating_sub(micros);
    left.store(after, Ordering::Relaxed);
    after == 0
}

/// How long a guest has the thread at most between two ticks, by the clock: what lasts longer is a long function of the
/// host or one long instruction, or the operating system has given the core to somebody else meanwhile.
const UNSUSPICIOUS: Duration = Duration::from_millis(3);

/// What this thread really had of a core. Asking the operating system costs ten times as much as looking at the clock,
/// so that it is asked only now and then, and when there is a doubt.
mod thread_time {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, clock_gettime};

    thread_local! {
        /// A moment, and what the thread had had of a core until then.
        static NOTED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    pub(super) fn of_thread() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanos)
    }

    /// Takes note of this moment, unless the last note is younger than a tick.
    pub(super) fn keep_fresh(now: Instant) {
        let old =
            |(noted, _): (Instant, Duration)| now.saturating_duration_since(noted) > super::TICK;
        if NOTED.get().is_none_or(old) {
            NOTED.set(Some((now, of_thread())));
        }
    }

    /// What the thread had of a core in the last `elapsed`: not more than it had since the last note.
    pub(super) fn since(now: Instant, elapsed: Duration) -> Duration {
        let time = of_thread();
        match NOTED.replace(Some((now, time))) {
            Some((_, before)) => elapsed.min(time.saturating_sub(before)),
            None => elapsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use super::*;

    fn deadline(total_ms: u32, compute_ms: u32) -> Deadline {
        Deadline {
            total_ms,
            compute_ms,
            setting: "limits.deadline-ms",
        }
    }

    fn clock(total_ms: u32, compute_ms: u32) -> Clock {
        Clock::new(
            deadline(total_ms, compute_ms),
            Account::unbounded(),
            Arc::default(),
        )
    }

    /// Has so much of a core, however long that takes on this machine.
    fn spin(time: Duration) {
        let begun = thread_time::of_thread();
        while thread_time::of_thread() - begun < time {}
    }

    /// Computes as a guest does, and hands the thread back at each tick.
    async fn compute(clock: &Clock, ms: u64) -> Result<(), Overrun> {
        for _ in 0..ms {
            spin(TICK);
            clock.tick()?;
            yield_now().await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn c6_waiting_counts_and_ends_the_call() {
        let outcome = clock(20, 20)
            .run(Call::Message, pin!(std::future::pending::<()>()))
            .await;
        assert_eq!(outcome, Err(Overrun::Total(deadline(20, 20))));
    }

    #[tokio::test]
    async fn c6_computing_counts_and_the_next_call_starts_anew() {
        let clock = clock(100, 100);
        for _ in 0..2 {
            let outcome = clock
                .run(Call::Message, pin!(compute(&clock, 20)))
                .await
                .unwrap();
            assert_eq!(outcome, Ok(()));
        }
        let outcome = clock
            .run(Call::Message, pin!(compute(&clock, 200)))
            .await
            .unwrap();
        assert_eq!(outcome, Err(Overrun::Total(deadline(100, 100))));
    }

    #[tokio::test]
    async fn c6_what_is_computed_has_a_limit_of_its_own() {
        let clock = clock(10_000, 20);
        let outcome = clock
            .run(Call::Message, pin!(compute(&clock, 80)))
            .await
            .unwrap();
        assert_eq!(outcome, Err(Overrun::Compute(deadline(10_000, 20))));
    }

    #[tokio::test]
    async fn c6_one_long_instruction_counts_as_long_as_it_takes() {
        let clock = clock(10_000, 20);
        let long = async {
            clock.tick()?;
            yield_now().await;
            spin(Duration::from_millis(100));
            clock.tick().map(drop)
        };
        let outcome = clock.run(Call::Message, pin!(long)).await.unwrap();
        assert_eq!(outcome, Err(Overrun::Compute(deadline(10_000, 20))));
    }

    #[tokio::test]
    async fn c6_a_thread_that_had_no_core_is_not_blamed_for_it() {
        let clock = clock(10_000, 50);
        let preempted = async {
            clock.tick()?;
            yield_now().await;
            // As if the operating system had given the core to somebody else.
            std::thread::sleep(Duration::from_millis(100));
            clock.tick().map(drop)
        };
        assert_eq!(
            clock.run(Call::Message, pin!(preempted)).await.unwrap(),
            Ok(())
        );
    }

    #[tokio::test]
    async fn c6_computing_and_waiting_count_together() {
        let clock = clock(400, 400);
        let waited = async || {
            let waits_since = Cell::new(Instant::now());
            let both = async {
                compute(&clock, 300).await?;
                waits_since.set(Instant::now());
                std::future::pending::<Result<(), Overrun>>().await
            };
            let outcome = clock.run(Call::Message, pin!(both)).await;
            // That is what ends a wait; a core that is often taken away can have it end the computing.
            let total = Overrun::Total(deadline(400, 400));
            assert!(outcome == Err(total) || outcome == Ok(Err(total)));
            waits_since.get().elapsed()
        };
        // By itself waiting goes on for 400 ms. A thread that is woken late can seem to have waited for that long too.
        let mut all = Vec::new();
        while all
            .iter()
            .all(|waited| *waited >= Duration::from_millis(300))
        {
            assert!(all.len() < 20, "{all:?}");
            all.push(waited().await);
        }
    }
}
