//! A namespace as other nodes see it, and what its reader still has to subscribe to.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use super::subjects::Subjects;
use crate::hub::{Interest, Namespace, Place};

/// Questions of other nodes about one namespace that may wait to be answered.
const QUESTIONS: usize = 64;

/// The namespaces of this node.
pub(super) struct Topics {
    by_path: RwLock<HashMap<String, Weak<Topic>>>,
    begun: Instant,
}

/// A namespace as other nodes see it.
pub(super) struct Topic {
    tenant: Option<String>,
    pub(super) namespace: Weak<Namespace>,
    pub(super) subjects: Subjects,
    /// The number of the next publication.
    number: AtomicU64,
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

impl Topics {
    pub(super) fn new() -> Self {
        Self {
            by_path: RwLock::default(),
            begun: Instant::now(),
        }
    }

    /// One more, in the place of the one that had its path.
    pub(super) fn add(
        &self,
        namespace: &Arc<Namespace>,
        prefix: &str,
        waiting: Arc<AtomicUsize>,
    ) -> Arc<Topic> {
        // More than any that was there before has got to: none is that often published to. So no number is used again by
        // a namespace that comes back.
        let number = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX / 2);
        let topic = Arc::new(Topic::new(namespace, prefix, number, waiting));
        let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        by_path.retain(|_, topic| topic.strong_count() > 0);
        by_path.insert(namespace.path().to_owned(), Arc::downgrade(&topic));
        topic
    }

    /// That of a tenant: a namespace that has ended may still publish when another tenant's has come to its path.
    pub(super) fn get(&self, tenant: Option<&str>, path: &str) -> Option<Arc<Topic>> {
        let by_path = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
        let topic = by_path.get(path)?.upgrade()?;
        (topic.tenant.as_deref() == tenant).then_some(topic)
    }
}

impl Topic {
    fn new(
        namespace: &Arc<Namespace>,
        prefix: &str,
        number: u64,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            tenant: namespace.tenant().map(str::to_owned),
            subjects: Subjects::new(prefix, namespace),
            number: AtomicU64::new(number),
            namespace: Arc::downgrade(namespace),
            waiting,
            toggled: Mutex::default(),
            changed: Notify::new(),
            ended: AtomicBool::new(false),
            answering: Semaphore::new(1),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// A number that no publication to it has had.
    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::quota::Account;

    fn namespace(tenant: Option<&str>) -> Arc<Namespace> {
        let (path, limits) = ("/acme/chat".to_owned(), Limits::default());
        Arc::new(Namespace::new(tenant, path, &limits, Account::unbounded()))
    }

    #[test]
    fn r4_who_comes_to_a_path_gets_nothing_of_another_tenants_that_was_there() {
        let topics = Topics::new();
        let (root, acme) = (namespace(None), namespace(Some("acme")));
        let add = |namespace| topics.add(namespace, "tulpar", Arc::default());
        let is_there = |namespace: &Namespace| topics.get(namespace.tenant(), namespace.path());
        let _of_root = add(&root);
        assert!(is_there(&root).is_some());
        assert!(is_there(&acme).is_none());
        let of_acme = add(&acme);
        assert!(is_there(&root).is_none());
        assert!(Arc::ptr_eq(&is_there(&acme).unwrap(), &of_acme));
        drop(of_acme);
        assert!(is_there(&acme).is_none());
    }

    #[test]
    fn no_number_comes_again_when_a_namespace_comes_back() {
        let topics = Topics::new();
        let mut last = None;
        for _ in 0..100 {
            let topic = topics.add(&namespace(None), "tulpar", Arc::default());
            std::thread::sleep(std::time::Duration::from_micros(1));
            let number = topic.next_number();
            assert!(last < Some(number));
            last = Some(number);
        }
    }
}
