//! Counts what goes between nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::numbers::Reason;

/// What has gone between nodes, and what got lost.
#[derive(Default)]
pub(super) struct Counters {
    published: AtomicU64,
    received: AtomicU64,
    subscriptions: AtomicU64,
    lost: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    pub(super) fn count_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn count_received(&self, messages: usize) {
        self.received.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn lose(&self, reason: Reason, messages: u64) {
        self.lost[reason as usize].fetch_add(messages, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> [u64; Reason::ALL.len()] {
        self.lost.each_ref().map(|it| it.load(Ordering::Relaxed))
    }

    /// One more subscription, for as long as what is returned is there.
    pub(super) fn subscribe(self: &Arc<Self>) -> Subscribed {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        Subscribed(self.clone())
    }

    pub(super) fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

/// That there is a subscription.
pub(super) struct Subscribed(Arc<Counters>);

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}
