//! Which threads a guest has at the moment, and since when.
//!
//! A guest gives its thread back at each tick, but not within one long instruction or function of the host. Tokio asks the
//! network for news when a thread has nothing to do, and the other threads sleep until there is something for them: when
//! the one that is awake is with a guest, nobody asks. So whoever counts the ticks looks here, and wakes another one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::deadline::TICK;

/// How long a guest may have a thread before another one is woken. Waking one in vain costs next to nothing.
const LONG: Duration = TICK;

/// What moments are counted from.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Of each thread, since when a guest has it, in nanoseconds; zero when none has.
static THREADS: Mutex<Vec<Weak<AtomicU64>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS: Cell<Option<Arc<AtomicU64>>> = const { Cell::new(None) };
}

/// A guest has this thread from now on, until what is returned is dropped, by a panic too.
#[must_use]
pub(super) fn begin(now: Instant) -> Slice {
    let nanos = now.saturating_duration_since(*BEGIN).as_nanos();
    set(u64::try_from(nanos).unwrap_or(u64::MAX).max(1));
    Slice
}

/// The time for which a guest has a thread.
pub(super) struct Slice;

impl Drop for Slice {
    fn drop(&mut self) {
        set(0);
    }
}

fn set(since: u64) {
    let this = THIS.take().unwrap_or_else(|| {
        let this = Arc::new(AtomicU64::new(0));
        let mut threads = threads();
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&this));
        this
    });
    this.store(since, Ordering::Relaxed);
    THIS.set(Some(this));
}

/// Whether some guest has had a thread for long.
pub(in crate::plugin) fn is_one_long(now: Instant) -> bool {
    let long = |since: u64| {
        since != 0 && now.saturating_duration_since(*BEGIN + Duration::from_nanos(since)) > LONG
    };
    let threads = threads();
    let mut upgraded = threads.iter().filter_map(Weak::upgrade);
    upgraded.any(|since| long(since.load(Ordering::Relaxed)))
}

// What it guards is whole whenever the lock is free.
fn threads() -> MutexGuard<'static, Vec<Weak<AtomicU64>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_stays_is_seen_until_it_goes() {
        // Other tests have guests too, on threads of their own; theirs end.
        let now = Instant::now();
        let slice = begin(now);
        assert!(is_one_long(now + LONG + Duration::from_nanos(1)));
        drop(slice);
        let this = THIS.take().unwrap();
        assert_eq!(this.load(Ordering::Relaxed), 0);
    }
}
