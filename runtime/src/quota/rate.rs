//! So many of something a second: messages, deliveries, host calls, log lines, microseconds of a core.
//!
//! Whoever does the thing reserves it of a [`Rate`] first, or charges it afterwards when only then is known how much it
//! was. A rate neither waits nor wakes: what becomes of one who may not is for its caller to decide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The most units a second that are counted, and so the most things: with as many, what is counted in half a second
/// fits into 64 bits, and what is counted in thirty years as well.
const UNITS: u64 = 1 << 34;
const NANOS: u64 = 1_000_000_000;

/// A token bucket without a lock. It is full at first.
///
/// Only what was taken is stored: what has been filled in follows from the time. Both are counted in small parts of a
/// thing, so that no rounding adds up.
#[derive(Debug)]
pub struct Rate {
    since: Instant,
    /// Units in one thing.
    unit: u64,
    /// Units that are filled in a second.
    filling: u64,
    /// Units that fit in.
    burst: u64,
    /// Units that were taken since `since`, those counted as taken that did not fit in any more.
    taken: AtomicU64,
}

impl Rate {
    /// So many a second, and so many at once after a pause. With zero a second there are those of the first burst and
    /// no more; a burst of zero is one of one, as otherwise nothing could ever be had. More than 2^34 a second count
    /// as 2^34.
    #[must_use]
    pub fn new(per_second: u64, burst: u64) -> Self {
        let per_second = per_second.min(UNITS);
        let unit = (UNITS / per_second.max(1)).clamp(1, NANOS);
        Self {
            since: Instant::now(),
            unit,
            filling: per_second * unit,
            burst: burst.max(1).saturating_mul(unit),
            taken: AtomicU64::new(0),
        }
    }

    /// Takes `n`, also when there are fewer. What is owed is filled in first.
    pub fn charge(&self, now: Instant, n: u64) {
        let filled = self.filled(now);
        self.update(|taken| Some(taken.max(filled).saturating_add(self.units(n))));
    }

    /// Takes the next one that nobody has taken yet. Returns how long until it is there, which is longer for each that is
    /// taken ahead: zero when it is there, [`Duration::MAX`] when it never will be.
    pub fn reserve(&self, now: Instant) -> Duration {
        let filled = self.filled(now);
        let relaxed = Ordering::Relaxed;
        let more = |taken: u64| Some(taken.max(filled).saturating_add(self.unit));
        let (Ok(before) | Err(before)) = self.taken.try_update(relaxed, relaxed, more);
        self.wait_behind(before, filled)
    }

    /// Gives one back that was reserved: whoever comes next has the last place, and those that wait keep theirs, so that for
    /// a moment more than the burst may be due. In the long run there are no more.
    pub fn give_back(&self) {
        self.update(|taken| Some(taken.saturating_sub(self.unit)));
    }

    /// How long until there is one: zero when there is, [`Duration::MAX`] when there never will be.
    pub fn wait(&self, now: Instant) -> Duration {
        self.wait_behind(self.taken.load(Ordering::Relaxed), self.filled(now))
    }

    fn wait_behind(&self, taken: u64, filled: u64) -> Duration {
        let missing = taken
            .max(filled)
            .saturating_add(self.unit)
            .saturating_sub(filled.saturating_add(self.burst));
        if missing == 0 {
            return Duration::ZERO;
        }
        if self.filling == 0 {
            return Duration::MAX;
        }
        let nanos = (u128::from(missing) * u128::from(NANOS)).div_ceil(u128::from(self.filling));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        let relaxed = Ordering::Relaxed;
        self.taken.try_update(relaxed, relaxed, change).is_ok()
    }

    fn units(&self, n: u64) -> u64 {
        n.saturating_mul(self.unit)
    }

    /// What has been filled in until now. A time before the beginning is the beginning.
    fn filled(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.since);
        // Second by second, because a division of 128 bits costs more than all the rest.
        let rest = u64::from(elapsed.subsec_nanos()) * self.filling / NANOS;
        elapsed
            .as_secs()
            .saturating_mul(self.filling)
            .saturating_add(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Rate {
        /// Takes `n` if there are so many, else nothing. More than the burst there never are.
        fn take(&self, now: Instant, n: u64) -> bool {
            let filled = self.filled(now);
            let most = filled.saturating_add(self.burst);
            self.update(|taken| {
                let after = taken.max(filled).checked_add(self.units(n))?;
                (after <= most).then_some(after)
            })
        }
    }

    #[test]
    fn a_burst_and_not_one_more() {
        for per_second in [1, 3, 7, 1000, 700_000_000, NANOS] {
            for burst in [1, 2, 50] {
                let rate = Rate::new(per_second, burst);
                let now = rate.since;
                assert!((0..burst).all(|_| rate.take(now, 1)));
                assert!(!rate.take(now, 1), "{per_second} {burst}");
                let wait = u64::try_from(rate.wait(now).as_nanos()).unwrap();
                assert_eq!(wait, NANOS.div_ceil(per_second));
            }
        }
    }

    #[test]
    fn the_next_is_there_when_it_says_and_not_before() {
        for per_second in [1, 3, 7, 1000, 123_457] {
            let rate = Rate::new(per_second, 1);
            let mut now = rate.since + SECOND.mul_f64(0.9);
            for _ in 0..1000 {
                assert!(rate.take(now, 1));
                let wait = rate.wait(now);
                assert!(wait.as_nanos().abs_diff(u128::from(NANOS / per_second)) <= 1);
                assert!(!rate.take(now + wait - Duration::from_nanos(1), 1));
                now += wait;
                assert!(rate.wait(now).is_zero());
            }
        }
    }

    #[test]
    fn no_more_than_so_many_a_second_in_the_long_run() {
        for per_second in [3, 999, 700_000_001, NANOS] {
            let rate = Rate::new(per_second, per_second);
            assert!(rate.take(rate.since, per_second));
            let (mut now, mut had) = (rate.since, 0);
            let step = (per_second / 97).max(1);
            while now < rate.since + 100 * SECOND {
                had += if rate.take(now, step) { step } else { 0 };
                now += Duration::from_micros(3337);
            }
            let all = 100 * per_second;
            assert!(had <= all && had >= all - 2 * step, "{had} of {all}");
        }
    }

    #[test]
    fn a_pause_is_worth_the_burst_and_no_more() {
        let rate = Rate::new(1000, 5);
        let later = rate.since + 3600 * SECOND;
        assert!(!rate.take(later, 6));
        assert!(rate.take(later, 5));
        assert!(!rate.take(later, 1));
    }

    #[test]
    fn what_is_owed_is_filled_in_first() {
        let rate = Rate::new(10, 1);
        let now = rate.since;
        rate.charge(now, 11);
        assert_eq!(rate.wait(now), Duration::from_millis(1100));
        assert!(!rate.take(now + SECOND, 1));
        assert!(rate.take(now + Duration::from_millis(1100), 1));
        assert!(!rate.take(now + Duration::from_millis(1100), 1));
    }

    #[test]
    fn who_reserves_waits_as_long_as_its_place_in_the_line_takes() {
        let rate = Rate::new(10, 2);
        let now = rate.since;
        let waits: Vec<_> = (0..5).map(|_| rate.reserve(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200, 300]);
        // Nobody who comes later passes them.
        assert!(!rate.take(now + Duration::from_millis(299), 1));
        rate.give_back();
        assert_eq!(rate.reserve(now), Duration::from_millis(300));
        assert!(!rate.take(now + Duration::from_millis(399), 1));
        assert!(rate.take(now + Duration::from_millis(400), 1));
        // What is given back when it has been filled in long ago is worth nothing.
        let later = now + 3600 * SECOND;
        rate.give_back();
        assert!(rate.take(later, 2) && !rate.take(later, 1));
        assert_eq!(Rate::new(0, 1).reserve(now), Duration::ZERO);
    }

    #[test]
    fn zero_and_the_largest_numbers() {
        let never = Rate::new(0, 2);
        assert!(never.take(never.since, 2) && !never.take(never.since + 3600 * SECOND, 1));
        assert_eq!(never.wait(never.since), Duration::MAX);
        let one = Rate::new(5, 0);
        assert!(one.take(one.since, 0) && one.take(one.since, 1) && !one.take(one.since, 1));
        for per_second in [1, NANOS, u64::MAX] {
            let rate = Rate::new(per_second, NANOS);
            let late = rate.since + 30 * 365 * 24 * 3600 * SECOND;
            assert!(!rate.take(late, u64::MAX) && !rate.take(late, NANOS + 1));
            assert!(rate.take(late, NANOS) && !rate.take(late, 1));
            (0..100).for_each(|_| rate.charge(late, NANOS));
            rate.charge(late, u64::MAX);
            assert!(!rate.take(late, 1) && !rate.wait(late).is_zero());
        }
        // A clock that is read before the beginning.
        let rate = Rate::new(1, 1);
        assert!(rate.take(rate.since.checked_sub(SECOND).unwrap_or(rate.since), 1));
    }

    #[test]
    fn many_threads_get_no_more_than_one() {
        let rate = Rate::new(0, 100_000);
        let had: usize = std::thread::scope(|scope| {
            let take = || (0..50_000).filter(|_| rate.take(rate.since, 1)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(had, 100_000);
    }
}
