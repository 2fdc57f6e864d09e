//! Counts per address in windows of fixed length. Windows expire in the order in which they began, so a queue
//! tells which to forget.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How many upgrades an address has in one window.
const LIMIT: u32 = 20;
/// How long a window lasts, from the first upgrade in it.
const WINDOW: Duration = Duration::from_secs(10);
/// How many addresses are counted at once. One more displaces the oldest window, which then starts anew.
const MAX_ADDRESSES: usize = 10_000;

/// The windows that have not expired.
#[derive(Default)]
pub struct Windows {
    by_address: HashMap<String, Window>,
    oldest_first: VecDeque<String>,
}

struct Window {
    began: Instant,
    upgrades: u32,
}

impl Windows {
    /// Count one upgrade of the address, or say how long it has to wait.
    pub fn admit(&mut self, address: String, now: Instant) -> Result<(), Duration> {
        self.forget_expired(now);
        if let Some(window) = self.by_address.get_mut(&address) {
            if window.upgrades == LIMIT {
                return Err(WINDOW - (now - window.began));
            }
            window.upgrades += 1;
            return Ok(());
        }
        if self.by_address.len() == MAX_ADDRESSES {
            self.forget_oldest();
        }
        self.oldest_first.push_back(address.clone());
        let window = Window {
            began: now,
            upgrades: 1,
        };
        self.by_address.insert(address, window);
        Ok(())
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(oldest) = self.oldest_first.front()
            && now - self.by_address[oldest].began >= WINDOW
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.oldest_first.pop_front() {
            self.by_address.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALMOST: Duration = Duration::from_millis(9_999);

    fn admit(windows: &mut Windows, address: &str, now: Instant) -> Result<(), Duration> {
        windows.admit(address.to_owned(), now)
    }

    #[test]
    fn the_limit_is_admitted_and_one_more_is_not() {
        let mut windows = Windows::default();
        let now = Instant::now();
        for _ in 0..LIMIT {
            assert_eq!(admit(&mut windows, "a", now), Ok(()));
        }
        assert_eq!(admit(&mut windows, "a", now), Err(WINDOW));
        assert_eq!(admit(&mut windows, "b", now), Ok(()));
    }

    #[test]
    fn a_window_ends_after_its_length_whatever_was_refused() {
        let mut windows = Windows::default();
        let began = Instant::now();
        for _ in 0..LIMIT {
            assert_eq!(admit(&mut windows, "a", began), Ok(()));
        }
        let wait = Duration::from_millis(1);
        assert_eq!(admit(&mut windows, "a", began + ALMOST), Err(wait));
        assert_eq!(admit(&mut windows, "a", began + WINDOW), Ok(()));
    }

    #[test]
    fn expired_windows_are_forgotten() {
        let mut windows = Windows::default();
        let began = Instant::now();
        for address in 0..100 {
            assert_eq!(windows.admit(address.to_string(), began), Ok(()));
        }
        assert_eq!(admit(&mut windows, "a", began + WINDOW), Ok(()));
        assert_eq!(windows.by_address.len(), 1);
        assert_eq!(windows.oldest_first.len(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_window_makes_room() {
        let mut windows = Windows::default();
        let now = Instant::now();
        for address in 0..MAX_ADDRESSES {
            assert_eq!(windows.admit(address.to_string(), now), Ok(()));
        }
        assert_eq!(admit(&mut windows, "one more", now), Ok(()));
        assert_eq!(windows.by_address.len(), MAX_ADDRESSES);
        assert_eq!(windows.oldest_first.len(), MAX_ADDRESSES);
        assert!(!windows.by_address.contains_key("0"));
        assert!(windows.by_address.contains_key("1"));
    }
}
