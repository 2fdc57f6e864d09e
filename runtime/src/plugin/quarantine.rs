//! A plugin that keeps failing is left alone for a while: its calls wait, and whoever wants in is told to come later.
//!
//! There are three ways out: time, a new file, and the operator.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Config;

/// In which time failures count together.
const WITHIN: Duration = Duration::from_secs(10);

/// When a plugin is put into quarantine, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// After so many failures within ten seconds; zero: never.
    failures: usize,
    /// For so long at first. Each time it is doubled, until the plugin has behaved for as long as it lasted.
    first: Duration,
    /// For so long at most.
    most: Duration,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self {
            failures: config.limits.quarantine_failures as usize,
            first: config.timeouts.quarantine(),
            most: config.timeouts.quarantine_max(),
        }
    }
}

/// The quarantine of one plugin.
pub struct Quarantine {
    rules: Rules,
    clock: Arc<dyn Clock>,
    /// What `until` counts from.
    begin: Instant,
    /// The milliseconds from `begin` to its end; in the past when there is none.
    until: AtomicU64,
    record: Mutex<Record>,
    over: Notify,
}

#[derive(Debug, Default)]
struct Record {
    /// When it has failed of late, since the last quarantine.
    recent: VecDeque<Instant>,
    last: Option<Instant>,
    /// How often it has been in quarantine of late.
    times: u32,
    /// How often in all.
    all: u64,
}

impl Quarantine {
    /// A plugin in good standing.
    #[must_use]
    pub fn new(rules: Rules, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules,
            begin: clock.now(),
            clock,
            until: AtomicU64::new(0),
            record: Mutex::default(),
            over: Notify::new(),
        }
    }

    /// It has failed. Returns for how long it is in quarantine now, when that is the consequence.
    pub fn fail(&self, now: Instant) -> Option<Duration> {
        if self.rules.failures == 0 || self.left(now).is_some() {
            return None;
        }
        let mut record = self.record();
        let enough = self.length(record.times) + WITHIN;
        if record
            .last
            .replace(now)
            .is_none_or(|last| now - last > enough)
        {
            record.times = 0;
        }
        record.recent.push_back(now);
        while record
            .recent
            .front()
            .is_some_and(|first| now - *first > WITHIN)
        {
            record.recent.pop_front();
        }
        if record.recent.len() < self.rules.failures {
            return None;
        }
        record.recent.clear();
        record.times = record.times.saturating_add(1);
        record.all += 1;
        let length = self.length(record.times);
        let until = now - self.begin + length;
        self.until.store(millis(until), Ordering::Relaxed);
        Some(length)
    }

    /// How long the last of so many quarantines is.
    fn length(&self, times: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(times.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.rules
            .first
            .saturating_mul(doubled)
            .min(self.rules.most)
    }

    /// For how long it still is in quarantine; none when it is not.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        // Most plugins never were, and need no look at the clock.
        if until == 0 {
            return None;
        }
        let left = Duration::from_millis(until).checked_sub(now - self.begin)?;
        (!left.is_zero()).then_some(left)
    }

    /// Whether it has ever been, which is all that a call has to ask.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// How often it has been in quarantine.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.record().all
    }

    /// Ends it, and forgets what led to it.
    pub fn lift(&self) {
        let mut record = self.record();
        record.recent.clear();
        record.times = 0;
        self.until.store(0, Ordering::Relaxed);
        drop(record);
        self.over.notify_waiters();
    }

    /// Waits until it is over. Cancel-safe.
    pub async fn over(&self) {
        loop {
            let lifted = self.over.notified();
            let Some(left) = self.left(self.clock.now()) else {
                return;
            };
            tokio::select! {
                () = lifted => {}
                () = self.clock.sleep(left) => {}
            }
        }
    }

    // What it guards is whole whenever the lock is free.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    // One more, so that it is over after the whole time and never before.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MachineClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn quarantine(failures: usize) -> (Quarantine, Instant) {
        quarantine_of(failures, SECOND)
    }

    fn quarantine_of(failures: usize, first: Duration) -> (Quarantine, Instant) {
        let rules = Rules {
            failures,
            first,
            most: 5 * first,
        };
        let quarantine = Quarantine::new(rules, Arc::new(MachineClock));
        let begin = quarantine.begin;
        (quarantine, begin)
    }

    #[test]
    fn c6_it_takes_so_many_failures_in_ten_seconds() {
        let (quarantine, begin) = quarantine(3);
        assert_eq!(quarantine.fail(begin), None);
        assert_eq!(quarantine.fail(begin + SECOND), None);
        // The first has been forgotten by now.
        assert_eq!(quarantine.fail(begin + 11 * SECOND), None);
        assert_eq!(quarantine.left(begin + 11 * SECOND), None);
        assert_eq!(quarantine.fail(begin + 11 * SECOND), Some(SECOND));
        assert!(quarantine.left(begin + 11 * SECOND).is_some());
        assert_eq!(quarantine.left(begin + 13 * SECOND), None);
        assert_eq!(quarantine.count(), 1);
    }

    #[test]
    fn c6_each_is_longer_than_the_last_until_the_plugin_behaves() {
        let (quarantine, begin) = quarantine(1);
        let mut now = begin;
        for length in [1, 2, 4, 5, 5] {
            assert_eq!(quarantine.fail(now), Some(length * SECOND));
            now += quarantine.left(now).unwrap();
        }
        now += 30 * SECOND;
        assert_eq!(quarantine.fail(now), Some(SECOND));
    }

    #[test]
    fn c6_zero_failures_mean_never_and_lifting_forgets() {
        let (never, begin) = quarantine(0);
        assert_eq!(never.fail(begin), None);
        let (lifted, begin) = quarantine(2);
        lifted.fail(begin);
        lifted.fail(begin);
        assert!(lifted.left(begin).is_some());
        lifted.lift();
        assert_eq!(lifted.left(begin), None);
        assert_eq!(lifted.fail(begin), None);
    }

    #[tokio::test]
    async fn c6_those_who_wait_hear_of_the_end() {
        let (long, _) = quarantine_of(1, 3600 * SECOND);
        long.over().await;
        long.fail(Instant::now());
        tokio::join!(long.over(), async {
            tokio::task::yield_now().await;
            long.lift();
        });
        let (short, _) = quarantine_of(1, SECOND / 10);
        let begun = Instant::now();
        short.fail(begun);
        short.over().await;
        assert!(begun.elapsed() >= SECOND / 10);
    }
}
