//! A clock that stands still until it is told to go on.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use tulpar_runtime::clock::{Clock, Sleep};

/// A clock of which a test is the master.
#[derive(Clone)]
pub(crate) struct FakeClock(Arc<Inner>);

struct Inner {
    begin: Instant,
    time: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    passed: Duration,
    /// Those who wait, by when that ends and by a number of their own.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    last: u64,
}

impl FakeClock {
    /// A clock that shows this time.
    pub(crate) fn new(time: SystemTime) -> Self {
        Self(Arc::new(Inner {
            begin: Instant::now(),
            time,
            state: Mutex::default(),
        }))
    }

    /// How much time has passed.
    pub(crate) fn passed(&self) -> Duration {
        self.0.state().passed
    }

    /// Goes on to where the next wait ends, but not past `end`, and there when none does. Returns whether one does.
    pub(crate) fn go_on(&self, end: Duration) -> bool {
        let mut state = self.0.state();
        let next = state.sleepers.first_key_value().map(|((due, _), _)| *due);
        let Some(due) = next.filter(|due| *due <= end) else {
            state.passed = end;
            return false;
        };
        state.passed = state.passed.max(due);
        let mut woken = Vec::new();
        while let Some(first) = state.sleepers.first_entry()
            && first.key().0 <= due
        {
            woken.push(first.remove());
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        true
    }
}

impl Clock for FakeClock {
    fn time(&self) -> SystemTime {
        self.0.time + self.passed()
    }

    fn now(&self) -> Instant {
        self.0.begin + self.passed()
    }

    fn sleep(&self, length: Duration) -> Sleep {
        let mut state = self.0.state();
        state.last += 1;
        Box::pin(Sleeper {
            key: (state.passed.saturating_add(length), state.last),
            clock: self.0.clone(),
        })
    }
}

impl Inner {
    // Each change is complete before anything could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sleeper {
    clock: Arc<Inner>,
    key: (Duration, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.passed >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_end_one_after_the_other_and_none_before_its_time() {
        let clock = FakeClock::new(SystemTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let ended = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3, 1, 2] {
            let (clock, ended) = (clock.clone(), ended.clone());
            tokio::spawn(async move {
                clock.sleep(seconds * second).await;
                ended.lock().unwrap().push((seconds, clock.passed()));
            });
        }
        tokio::task::yield_now().await;
        for (seconds, goes_on) in [(1, true), (2, true), (2, false)] {
            assert_eq!(clock.go_on(2 * second + second / 2), goes_on);
            tokio::task::yield_now().await;
            let half = u32::from(!goes_on) * second / 2;
            assert_eq!(clock.passed(), seconds * second + half);
        }
        assert_eq!(*ended.lock().unwrap(), [(1, second), (2, 2 * second)]);
        assert_eq!(
            clock.time(),
            SystemTime::UNIX_EPOCH + 2 * second + second / 2
        );
    }
}
