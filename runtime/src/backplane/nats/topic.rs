//! A namespace as other nodes see it, and what its reader still has to subscribe to.

use std::collections::HashSet;
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, Semaphore};

use super::subjects::Subjects;
use crate::hub::{Interest, Namespace, Place};

/// Questions of other nodes about one namespace that may wait to be answered.
const QUESTIONS: usize = 64;

/// A namespace as other nodes see it.
pub(super) struct Topic {
    pub(super) namespace: Weak<Namespace>,
    pub(super) subjects: Subjects,
    /// What waits to be sent, in bytes; it is the whole tenant's.
    pub(super) waiting: Arc<AtomicUsize>,
    /// The places that somebody is in and that are not subscribed to, and those that are and nobody is in. So there are
    /// never more than there are rooms and subscriptions.
    toggled: Mutex<HashSet<Place>>,
    changed: Notify,
    ended: AtomicBool,
    /// Held by the question that is being answered.
    pub(super) answering: Semaphore,
    /// How many more questions may be there.
    pub(super) questions: Arc<Semaphore>,
}

/// What the namespace has of it. With it goes the namespace.
pub(super) struct Watch(pub(super) Arc<Topic>);

impl Topic {
    pub(super) fn new(namespace: &Arc<Namespace>, prefix: &str, waiting: Arc<AtomicUsize>) -> Self {
        Self {
            subjects: Subjects::new(prefix, namespace),
            namespace: Arc::downgrade(namespace),
            waiting,
            toggled: Mutex::default(),
            changed: Notify::new(),
            ended: AtomicBool::new(false),
            answering: Semaphore::new(1),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// What has changed since this was asked last.
    pub(super) fn take(&self) -> HashSet<Place> {
        take(&mut *self.toggled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something has. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has whoever waits for a change look again.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Whether the namespace is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Interest for Watch {
    fn toggle(&self, place: Place) {
        let mut toggled = self
            .0
            .toggled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !toggled.remove(&place) {
            toggled.insert(place);
            drop(toggled);
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}
