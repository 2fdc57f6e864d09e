//! How many of something there are at once: connections, instances, bytes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up to a limit.
#[derive(Debug)]
pub struct Counter {
    used: AtomicU64,
    limit: u64,
}

impl Counter {
    /// Nothing yet, and never more than `limit`; without one it only counts.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: limit.unwrap_or(u64::MAX),
        }
    }

    /// Whether there is a limit.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.limit != u64::MAX
    }

    /// Counts `n` more, unless that would be too many.
    pub fn take(&self, n: u64) -> bool {
        let relaxed = Ordering::Relaxed;
        let more = |used: u64| used.checked_add(n).filter(|used| *used <= self.limit);
        self.used.try_update(relaxed, relaxed, more).is_ok()
    }

    /// Counts `n` fewer, which have been counted before.
    pub fn give_back(&self, n: u64) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_to_its_limit_and_not_one_more() {
        let counter = Counter::new(Some(3));
        assert!(counter.take(2));
        assert!(!counter.take(2));
        assert!(!counter.take(u64::MAX));
        assert!(counter.take(1));
        counter.give_back(2);
        assert_eq!(counter.used(), 1);
        assert!(Counter::new(None).take(u64::MAX));
        assert!(!Counter::new(Some(0)).take(1));
    }
}
