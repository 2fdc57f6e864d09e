//! What all leases of a node share: the bucket that they are in, and what the log says of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::Backplane;
use crate::ids::NodeId;
use crate::nats::{Bucket, Failure, Layout, Nats};

/// What all leases of a node share.
pub(super) struct Registry {
    pub(super) nats: Nats,
    /// How long a lease lasts.
    pub(super) length: Duration,
    pub(super) bucket: Bucket,
    node: NodeId,
    asked: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// That leases cannot be had.
struct Trouble {
    since: Instant,
    is_reported: bool,
}

impl Registry {
    pub(super) fn new(node: NodeId, nats: &Nats, config: &Backplane) -> Self {
        let layout = Layout {
            name: nats.bucket_name("leases", None),
            in_memory: true,
            max_age: config.lease(),
            max_bytes: None,
            max_value: None,
            replicas: config.replicas,
        };
        Self {
            nats: nats.clone(),
            length: config.lease(),
            bucket: Bucket::new(nats, layout, config.request()),
            node,
            asked: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    /// What entries say that somebody of this node writes, and nobody else.
    pub(super) fn sign(&self) -> Bytes {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        format!("{} {number}", self.node).into()
    }

    /// Takes note of how it went, and tells the log when leases cannot be had: once, and when they can be had again.
    pub(super) fn note<T>(&self, outcome: &Result<T, Failure>) {
        let failure = match outcome {
            Ok(_) => {
                let trouble = self.trouble().take();
                if trouble.is_some_and(|trouble| trouble.is_reported) {
                    tracing::info!("schedules can run on this node again");
                }
                return;
            }
            Err(failure) => failure,
        };
        let mut trouble = self.trouble();
        let trouble = trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            is_reported: false,
        });
        // What is over sooner makes no difference.
        let may_be_short = matches!(failure, Failure::CutOff | Failure::Silent(_));
        let is_short = may_be_short && trouble.since.elapsed() < self.length;
        if !is_short && !std::mem::replace(&mut trouble.is_reported, true) {
            tracing::warn!(
                "no schedules run on this node: {failure}; for a schedule to run on one node, NATS needs JetStream: enable it \
                 there, or have each node run them with backplane.schedules = \"each-node\""
            );
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
