//! The bucket of leases, opened when it is needed and again after a failure, and what the log says of that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::Backplane;
use crate::ids::NodeId;
use crate::nats::{Bucket, Failure, Layout, Nats};

/// For how long a failure to open answers those who come next.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What all leases of a node share.
pub(super) struct Registry {
    pub(super) nats: Nats,
    /// How long a lease lasts.
    pub(super) length: Duration,
    node: NodeId,
    layout: Layout,
    patience: Duration,
    asked: AtomicU64,
    bucket: tokio::sync::Mutex<Opened>,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Default)]
struct Opened {
    bucket: Option<Arc<Bucket>>,
    failure: Option<(Instant, Failure)>,
}

/// That leases cannot be had.
struct Trouble {
    since: Instant,
    is_reported: bool,
}

impl Registry {
    pub(super) fn new(node: NodeId, nats: &Nats, config: &Backplane) -> Self {
        Self {
            nats: nats.clone(),
            length: config.lease(),
            node,
            layout: Layout {
                name: nats.bucket_name("leases", None),
                in_memory: true,
                max_age: config.lease(),
                max_bytes: None,
                max_value: None,
                replicas: config.replicas,
            },
            patience: config.request(),
            asked: AtomicU64::new(0),
            bucket: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// What entries say that somebody of this node writes, and nobody else.
    pub(super) fn sign(&self) -> Bytes {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        format!("{} {number}", self.node).into()
    }

    /// The subject on which is heard what happens to an entry.
    pub(super) fn subject(&self, key: &str) -> String {
        self.layout.subject(key)
    }

    pub(super) async fn bucket(&self) -> Result<Arc<Bucket>, Failure> {
        let mut opened = self.bucket.lock().await;
        if let Some(bucket) = &opened.bucket {
            return Ok(bucket.clone());
        }
        if let Some((at, failure)) = &opened.failure
            && at.elapsed() < RETRY_AFTER
        {
            return Err(failure.clone());
        }
        let bucket = Bucket::open(&self.nats, &self.layout, self.patience).await;
        let bucket = bucket.map(Arc::new);
        opened.failure = bucket.as_ref().err().map(|it| (Instant::now(), it.clone()));
        opened.bucket = bucket.as_ref().ok().cloned();
        bucket
    }

    /// Takes note of how it went, and tells the log when leases cannot be had: once, and when they can be had again.
    pub(super) async fn note<T>(&self, outcome: &Result<T, Failure>) {
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
        if matches!(failure, Failure::Gone | Failure::NoJetStream) {
            self.bucket.lock().await.bucket = None;
        }
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

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
