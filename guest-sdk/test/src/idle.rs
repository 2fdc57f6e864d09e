//! When a server has done all that there is to do.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// How often the one thread has to run out of tasks before nothing is left to do. Between two of these it asks the
/// operating system for news; and what a client does becomes known to the server in two steps at most: that there is a
/// connection, and what has come on it. The last one is to see that nothing came of it.
const ROUNDS: u32 = 4;

/// Counts how often the thread that serves has run out of tasks.
#[derive(Default)]
pub(crate) struct Idle {
    times: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl Idle {
    /// A runtime of one thread, and what counts how often that runs out of tasks.
    pub(crate) fn runtime() -> std::io::Result<(tokio::runtime::Runtime, Arc<Self>)> {
        let idle = Arc::<Self>::default();
        let counts = idle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || counts.count())
            .build()?;
        Ok((runtime, idle))
    }

    fn count(&self) {
        self.times.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.lock();
        if let Some(waker) = waiting.unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Waits until there is nothing to do but what waits for a time, another thread or another process.
    pub(crate) async fn reached(&self) {
        for _ in 0..ROUNDS {
            let before = self.times.load(Ordering::Relaxed);
            poll_fn(|cx| {
                if self.times.load(Ordering::Relaxed) != before {
                    return Poll::Ready(());
                }
                let waiting = self.waiting.lock();
                *waiting.unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}
