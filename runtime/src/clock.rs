//! What time it is for plugins: what their own clocks show, when their schedules are due, when a quarantine ends.
//!
//! Deadlines, timeouts and rates are not of this: they measure what this process really does.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

/// A clock.
pub trait Clock: Send + Sync {
    /// The time of day, which may be set meanwhile.
    fn time(&self) -> SystemTime;

    /// This moment. It never goes back.
    fn now(&self) -> Instant;

    /// Waits for so long. Cancel-safe.
    fn sleep(&self, length: Duration) -> Sleep;
}

/// A wait for a clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn time(&self) -> SystemTime {
        SystemTime::now()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, length: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(length))
    }
}
