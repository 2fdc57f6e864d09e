//! How fast the messages of one socket are taken: `limits.socket-messages-per-second`. Who sends more is read later, and
//! so held back by TCP; no message is lost.

use std::time::{Duration, Instant};

use crate::quota::Rate;

/// What one socket may still send, when that is bounded.
pub(super) struct Pace(Option<Box<Rate>>);

impl Pace {
    /// So many messages a second, of which a tenth may come at once; 0: as many as come.
    pub(super) fn new(per_second: u32) -> Self {
        let burst = u64::from(per_second.div_ceil(10));
        let rate = || Box::new(Rate::new(per_second.into(), burst));
        Self((per_second > 0).then(rate))
    }

    /// Waits until one more may come. Cancel-safe.
    pub(super) async fn wait(&self) {
        if let Some(rate) = &self.0 {
            let wait = rate.wait(Instant::now());
            if wait > Duration::ZERO {
                // Boxed, as it is rare.
                Box::pin(tokio::time::sleep(wait)).await;
            }
        }
    }

    /// One has come.
    pub(super) fn count(&self) {
        if let Some(rate) = &self.0 {
            rate.charge(Instant::now(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the next one has to wait after so many, none of which has waited.
    fn wait_after(per_second: u32, messages: u32) -> Duration {
        let now = Instant::now();
        let pace = Pace::new(per_second);
        let Some(rate) = &pace.0 else {
            return Duration::ZERO;
        };
        (0..messages).for_each(|_| rate.charge(now, 1));
        rate.wait(now)
    }

    #[test]
    fn a_tenth_may_come_at_once_and_not_one_more() {
        assert_eq!(wait_after(0, 1000), Duration::ZERO);
        assert_eq!(wait_after(1, 0), Duration::ZERO);
        assert!(wait_after(1, 1) > Duration::from_millis(900));
        assert_eq!(wait_after(20, 1), Duration::ZERO);
        let wait = wait_after(20, 2);
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(50));
    }
}
