//! The one place of a plugin's instance, and who enters it next.
//!
//! Whoever runs and finds it free enters, also past those who wait. A lock that is handed to the next in line stays
//! handed on for ever once a line has formed: each connection then gets one message in before it waits again, and each
//! message costs a wake and a write of its own. Here the line dissolves by itself. So that nobody waits without end,
//! now and then the place is kept for the one who has waited longest.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long one may be passed by others, and how often at most the place is kept for somebody.
const PATIENCE: Duration = Duration::from_millis(10);

/// A place for one `T`, entered by one at a time.
pub(super) struct Place<T>(Mutex<Inner<T>>);

struct Inner<T> {
    content: Option<T>,
    /// Whether somebody is in.
    taken: bool,
    /// By their number, so that the first is who has waited longest.
    waiting: BTreeMap<u64, Waiter>,
    /// Who was woken and has not come yet. While there is one, nobody else is woken.
    called: Option<u64>,
    /// For whom the place is kept.
    kept_for: Option<u64>,
    last_kept: Option<Instant>,
    next_number: u64,
}

struct Waiter {
    waker: Waker,
    since: Instant,
}

impl<T> Place<T> {
    /// A free place with nothing in it.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner {
            content: None,
            taken: false,
            waiting: BTreeMap::new(),
            called: None,
            kept_for: None,
            last_kept: None,
            next_number: 0,
        }))
    }

    /// Waits until the place is free and enters it. Cancel-safe.
    pub(super) fn enter(&self) -> Enter<'_, T> {
        Enter {
            place: self,
            waiting: None,
        }
    }

    /// Whether somebody is in.
    pub(super) fn is_taken(&self) -> bool {
        self.lock().taken
    }

    // Nothing panics while holding the lock; were it poisoned all the same, what it guards would still be whole.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, content: Option<T>) {
        let mut inner = self.lock();
        inner.taken = false;
        inner.content = content;
        let waker = inner.call_next();
        drop(inner);
        wake(waker);
    }
}

impl<T> Inner<T> {
    /// Who is to be woken, now that the place is free.
    fn call_next(&mut self) -> Option<Waker> {
        if self.called.is_some() {
            return None;
        }
        let (number, waiter) = self.waiting.pop_first()?;
        let now = Instant::now();
        let long = |since: Instant| now - since > PATIENCE;
        if long(waiter.since) && self.last_kept.is_none_or(long) {
            self.last_kept = Some(now);
            self.kept_for = Some(number);
        }
        self.called = Some(number);
        Some(waiter.waker)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The wait for a place.
pub(super) struct Enter<'a, T> {
    place: &'a Place<T>,
    /// The number in the line, and since when.
    waiting: Option<(u64, Instant)>,
}

impl<'a, T> Future for Enter<'a, T> {
    /// The right to be in, and what was there.
    type Output = (Turn<'a, T>, Option<T>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.place;
        let inner = &mut *place.lock();
        let number = self.waiting.map(|(number, _)| number);
        if number.is_some() && inner.called == number {
            inner.called = None;
        }
        if inner.taken || inner.kept_for.is_some_and(|kept| Some(kept) != number) {
            let (number, since) = *self.waiting.get_or_insert_with(|| {
                inner.next_number += 1;
                (inner.next_number, Instant::now())
            });
            let waker = cx.waker().clone();
            inner.waiting.insert(number, Waiter { waker, since });
            return Poll::Pending;
        }
        if let Some(number) = number {
            inner.waiting.remove(&number);
            self.waiting = None;
        }
        inner.kept_for = None;
        inner.taken = true;
        Poll::Ready((Turn { place: Some(place) }, inner.content.take()))
    }
}

impl<T> Drop for Enter<'_, T> {
    fn drop(&mut self) {
        let Some((number, _)) = self.waiting else {
            return;
        };
        let mut inner = self.place.lock();
        inner.waiting.remove(&number);
        let called = inner.called.take_if(|called| *called == number).is_some();
        inner.kept_for.take_if(|kept| *kept == number);
        // Somebody else has to hear what this one was told.
        let waker = match called && !inner.taken {
            true => inner.call_next(),
            false => None,
        };
        drop(inner);
        wake(waker);
    }
}

/// The right to be in the place. Dropping it leaves the place empty.
pub(super) struct Turn<'a, T> {
    place: Option<&'a Place<T>>,
}

impl<T> Turn<'_, T> {
    /// Leaves, and puts something there for the next.
    pub(super) fn leave(mut self, content: T) {
        if let Some(place) = take(&mut self.place) {
            place.leave(Some(content));
        }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.leave(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Calls {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll<'a, T>(
        enter: &mut Pin<&mut Enter<'a, T>>,
        calls: &Arc<Calls>,
    ) -> Option<(Turn<'a, T>, Option<T>)> {
        let waker = Waker::from(calls.clone());
        match enter.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(entered) => Some(entered),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_one_leaves_the_next_finds() {
        let place = Place::new();
        let calls = Arc::new(Calls::default());
        let (turn, content) = poll(&mut pin!(place.enter()), &calls).unwrap();
        assert_eq!(content, None);
        turn.leave(7);
        let (turn, content) = poll(&mut pin!(place.enter()), &calls).unwrap();
        assert_eq!(content, Some(7));
        drop(turn);
        assert_eq!(poll(&mut pin!(place.enter()), &calls).unwrap().1, None);
    }

    /// None of those who wait has waited for long, however long this test takes.
    fn have_just_come(place: &Place<()>) {
        for waiter in place.lock().waiting.values_mut() {
            waiter.since += Duration::from_secs(3600);
        }
    }

    #[test]
    fn one_who_runs_passes_those_who_wait_and_one_of_them_is_called() {
        let place = Place::<()>::new();
        let calls = Arc::new(Calls::default());
        let (turn, _) = poll(&mut pin!(place.enter()), &calls).unwrap();
        let (mut first, mut second) = (pin!(place.enter()), pin!(place.enter()));
        assert!(poll(&mut first, &calls).is_none() && poll(&mut second, &calls).is_none());
        have_just_come(&place);
        turn.leave(());
        assert_eq!(calls.count(), 1);
        let (turn, _) = poll(&mut pin!(place.enter()), &calls).unwrap();
        assert!(poll(&mut first, &calls).is_none());
        turn.leave(());
        assert_eq!(calls.count(), 2);
        let (turn, _) = poll(&mut first, &calls).unwrap();
        turn.leave(());
        assert_eq!(calls.count(), 3);
        poll(&mut second, &calls).unwrap().0.leave(());
        assert_eq!(calls.count(), 3);
    }

    #[test]
    fn the_place_is_kept_for_one_who_was_passed_too_long() {
        let place = Place::<()>::new();
        let calls = Arc::new(Calls::default());
        let (turn, _) = poll(&mut pin!(place.enter()), &calls).unwrap();
        let (mut first, mut second) = (pin!(place.enter()), pin!(place.enter()));
        assert!(poll(&mut first, &calls).is_none() && poll(&mut second, &calls).is_none());
        for waiter in place.lock().waiting.values_mut() {
            waiter.since -= 2 * PATIENCE;
        }
        turn.leave(());
        assert!(poll(&mut pin!(place.enter()), &calls).is_none());
        poll(&mut first, &calls).unwrap().0.leave(());
        // Not for two in a row, or the line would never dissolve.
        assert!(poll(&mut pin!(place.enter()), &calls).is_some());
    }

    #[test]
    fn one_who_gives_up_passes_the_call_on() {
        let place = Place::<()>::new();
        let calls = Arc::new(Calls::default());
        let (turn, _) = poll(&mut pin!(place.enter()), &calls).unwrap();
        let mut second = pin!(place.enter());
        {
            let mut first = pin!(place.enter());
            assert!(poll(&mut first, &calls).is_none() && poll(&mut second, &calls).is_none());
            have_just_come(&place);
            turn.leave(());
            assert_eq!(calls.count(), 1);
        }
        assert_eq!(calls.count(), 2);
        assert!(poll(&mut second, &calls).is_some());
        assert!(place.lock().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_forgotten() {
        let place = Arc::new(Place::<u32>::new());
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let place = place.clone();
                tokio::spawn(async move {
                    for round in 0..2_000 {
                        let (turn, count) = place.enter().await;
                        if round % 7 == 0 {
                            tokio::task::yield_now().await;
                        }
                        turn.leave(count.unwrap_or(0) + 1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(place.enter().await.1, Some(16_000));
    }
}
