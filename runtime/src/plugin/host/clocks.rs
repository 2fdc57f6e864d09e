//! `wasi:clocks`: the plugins' clock, as WASI shows it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use crate::clock::Clock;

/// The time of day.
pub(super) struct Wall(pub(super) Arc<dyn Clock>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let passed = self.0.time().duration_since(SystemTime::UNIX_EPOCH);
        // A machine whose clock is set to before 1970 has other worries.
        passed.unwrap_or_default()
    }
}

/// The time since an instance was made.
pub(super) struct Monotonic {
    clock: Arc<dyn Clock>,
    begin: Instant,
}

impl Monotonic {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let begin = clock.now();
        Self { clock, begin }
    }
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        let passed = self.clock.now().saturating_duration_since(self.begin);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }
}
