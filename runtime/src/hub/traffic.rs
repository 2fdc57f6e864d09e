//! What has come and gone: counted for all sockets of a namespace together.

use std::sync::atomic::{AtomicU64, Ordering};

/// The messages of a namespace, and what was lost of them. Everything counts from when it was made.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    received_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) slow: AtomicU64,
}

impl Traffic {
    /// A client has sent a message of so many bytes.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.received_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A message that takes so many bytes on the wire was queued to so many sockets.
    pub(super) fn count_sent(&self, sockets: u32, bytes: usize) {
        let sockets = u64::from(sockets);
        self.sent.fetch_add(sockets, Ordering::Relaxed);
        self.sent_bytes
            .fetch_add(sockets * bytes as u64, Ordering::Relaxed);
    }

    /// Messages of clients.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Their bytes, without what frames and compression make of them.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Messages to clients: one to a room counts once for each of its members, those among them that did not get it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Their bytes with the headers of their frames, before they are compressed.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Frames that were dropped because their peers read too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sockets that were closed for that.
    #[must_use]
    pub fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }
}
