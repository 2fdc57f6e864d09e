//! Which of several nodes runs the schedules of a service.
//!
//! Each service with schedules has a lease: an entry in a bucket that JetStream keeps, which expires by itself. The node that
//! wrote it has it and renews it every third of its time. The others hear that on the subject of the entry, as it is
//! published there, and look whether they can have it when they have heard nothing for as long as it lasts, or that it
//! was given back.
//!
//! Who has it trusts in it only until a tenth before its end, counted from the moment at which its last renewal was begun. So
//! a node that is cut off has stopped before another begins. JetStream may have lost all leases that it had, as after a
//! start of a server that keeps them in memory. So nobody takes the first one of an empty bucket before it has seen it empty
//! for as long as a lease lasts.

mod registry;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::registry::Registry;
use crate::config::Backplane;
use crate::ids::NodeId;
use crate::nats::{Failure, Link, Nats, is_removal, key};
use crate::plugin::Plugin;

/// What part of its time a lease is not trusted in any more.
const MARGIN: u32 = 10;
/// After what part of its time it is looked again whether a lease can be had that should be free.
const PAUSE: u32 = 20;
/// The same for one that cannot be asked for.
const PAUSE_AFTER_FAILURE: u32 = 6;

/// Where services get their leases. Clones are the same.
#[derive(Clone)]
pub struct Leases(Option<Arc<Registry>>);

/// The lease of a service, or the wish for it. When it is dropped, it is given back a little later.
pub struct Lease {
    holding: Holding,
    end: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

/// Tells whether a lease is this node's.
#[derive(Clone)]
pub(super) struct Holding(Option<watch::Receiver<Option<Moment>>>);

impl Leases {
    /// Each node runs all schedules.
    #[must_use]
    pub fn on_each_node() -> Self {
        Self(None)
    }

    /// One node runs those of a service.
    #[must_use]
    pub fn once(node: NodeId, nats: &Nats, config: &Backplane) -> Self {
        Self(Some(Arc::new(Registry::new(node, nats, config))))
    }

    /// Asks for the lease of a plugin's service, from now on.
    pub(super) fn ask(&self, plugin: &Arc<Plugin>, service: &str) -> Lease {
        let Some(registry) = &self.0 else {
            plugin.tally().set_schedules_run(true);
            return Lease {
                holding: Holding(None),
                end: None,
                task: None,
            };
        };
        let (held, holding) = watch::channel(None);
        let (end, ending) = oneshot::channel();
        let asking = Asking {
            key: key(&plugin.id().key()),
            mine: registry.sign(),
            registry: registry.clone(),
            plugin: plugin.clone(),
            service: service.to_owned(),
            held,
            ending,
            empty_since: None,
        };
        Lease {
            holding: Holding(Some(holding)),
            end: Some(end),
            task: Some(tokio::spawn(asking.go_on())),
        }
    }
}

impl Lease {
    /// Tells whether it is this node's.
    pub(super) fn holding(&self) -> Holding {
        self.holding.clone()
    }

    /// Gives it back, so that another node can have it at once.
    pub(super) async fn give_back(mut self) {
        drop(self.end.take());
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Holding {
    /// Whether the lease is this node's at this moment.
    pub(super) fn is_ours(&self) -> bool {
        let Self(Some(until)) = self else {
            return true;
        };
        until.borrow().is_some_and(|until| !until.is_past())
    }
}

/// A moment by the clock that nobody sets, and by the one that goes on while the machine sleeps.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    time: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            time: SystemTime::now(),
        }
    }

    fn after(self, length: Duration) -> Self {
        Self {
            instant: self.instant + length,
            time: self.time + length,
        }
    }

    /// Whether it is past by one of them.
    fn is_past(&self) -> bool {
        Instant::now() >= self.instant || SystemTime::now() >= self.time
    }
}

/// Has a lease, or asks for it.
struct Asking {
    registry: Arc<Registry>,
    plugin: Arc<Plugin>,
    service: String,
    key: String,
    /// What the entry says that it has written.
    mine: Bytes,
    /// Until when the lease is this node's.
    held: watch::Sender<Option<Moment>>,
    /// Is ready when there is nobody any more who wants it.
    ending: oneshot::Receiver<()>,
    /// Since when the bucket has been empty, as if nobody had ever had a lease.
    empty_since: Option<Instant>,
}

/// An entry that this node has written.
#[derive(Clone, Copy)]
struct Written {
    revision: u64,
    /// When it began to.
    begun: Moment,
}

/// Why a lease is not this node's any more.
enum End {
    /// It was given back.
    Wanted,
    Lost(String),
}

impl Asking {
    async fn go_on(mut self) {
        let subject = self.registry.bucket.subject(&self.key);
        let Ok(mut heard) = self.registry.nats.client().subscribe(subject).await else {
            return;
        };
        while let Some(written) = self.get(&mut heard).await {
            let (plugin, service) = (self.plugin.id(), &self.service);
            tracing::info!(%plugin, "service {service}: its schedules run on this node");
            self.plugin.tally().set_schedules_run(true);
            let end = self.keep(written, &mut heard).await;
            self.held.send_replace(None);
            self.plugin.tally().set_schedules_run(false);
            let (plugin, service) = (self.plugin.id(), &self.service);
            match end {
                End::Wanted => {
                    tracing::info!(%plugin, "service {service}: its schedules are left to other nodes");
                    return;
                }
                End::Lost(why) => tracing::warn!(
                    %plugin,
                    "service {service}: its schedules run on this node no more: {why}"
                ),
            }
        }
    }

    /// Waits until the lease is this node's; none when nobody wants it any more.
    async fn get(&mut self, heard: &mut Subscriber) -> Option<Written> {
        let length = self.registry.length;
        let mut link = self.registry.nats.link();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = &mut self.ending => return None,
                news = link.changed() => {
                    news.ok()?;
                    // What was lost meanwhile is not known.
                    self.empty_since = None;
                    next = Instant::now();
                }
                () = sleep_until(next) => {
                    let begun = Moment::now();
                    let pause = match self.try_to_get().await {
                        Ok(Some(revision)) => return Some(Written { revision, begun }),
                        Ok(None) => length / PAUSE,
                        Err(_) => length / PAUSE_AFTER_FAILURE,
                    };
                    next = Instant::now() + pause;
                }
                message = heard.next() => {
                    next = Instant::now();
                    if !is_removal(&message?) {
                        self.empty_since = None;
                        next += length;
                    }
                }
            }
        }
    }

    /// Writes the entry, if there is none, or it is this node's own. Returns its revision.
    async fn try_to_get(&mut self) -> Result<Option<u64>, Failure> {
        let registry = self.registry.clone();
        let bucket = &registry.bucket;
        let tried = async {
            let entry = bucket.read(&self.key).await?;
            if entry.value.is_some_and(|value| value != self.mine) {
                return Ok(None);
            }
            if entry.revision == 0 && bucket.contents().await?.revision == 0 {
                let since = *self.empty_since.get_or_insert_with(Instant::now);
                if since.elapsed() < registry.length {
                    return Ok(None);
                }
            }
            let mine = self.mine.clone();
            match bucket.write(&self.key, mine, Some(entry.revision)).await {
                Err(Failure::Conflict) => Ok(None),
                written => written.map(Some),
            }
        };
        let tried = tried.await;
        registry.note(&tried);
        tried
    }

    /// Renews the lease until it is lost or given back.
    async fn keep(&mut self, mut written: Written, heard: &mut Subscriber) -> End {
        let length = self.registry.length;
        let mut link = self.registry.nats.link();
        let mut next = written.begun.instant + length / 3;
        let mut why = "it was not renewed in time".to_owned();
        loop {
            let until = written.begun.after(length - length / MARGIN);
            self.held.send_replace(Some(until));
            tokio::select! {
                biased;
                _ = &mut self.ending => {
                    self.give_back(written.revision).await;
                    return End::Wanted;
                }
                () = sleep_until(until.instant) => return End::Lost(why),
                Ok(()) = link.changed() => {
                    if *link.borrow_and_update() == Link::Up {
                        next = Instant::now();
                    }
                }
                () = sleep_until(next) => {
                    let begun = Moment::now();
                    match self.renew(written.revision).await {
                        Ok(Some(revision)) => {
                            written = Written { revision, begun };
                            next = begun.instant + length / 3;
                        }
                        Ok(None) => return End::Lost("another node has them, or NATS has lost it".into()),
                        Err(error) => {
                            why = error.to_string();
                            next = Instant::now() + length / PAUSE_AFTER_FAILURE;
                        }
                    }
                }
                // Others have tried to get it.
                Some(_) = heard.next() => {}
            }
        }
    }

    /// Writes the entry again. Returns its new revision; none when it is not this node's any more.
    async fn renew(&self, revision: u64) -> Result<Option<u64>, Failure> {
        let bucket = &self.registry.bucket;
        let renewed = async {
            let write = |revision| bucket.write(&self.key, self.mine.clone(), Some(revision));
            match write(revision).await {
                Err(Failure::Conflict) => {}
                written => return written.map(Some),
            }
            // One that seemed to have failed may have succeeded.
            let entry = bucket.read(&self.key).await?;
            if entry.value.is_none_or(|value| value != self.mine) {
                return Ok(None);
            }
            match write(entry.revision).await {
                Err(Failure::Conflict) => Ok(None),
                written => written.map(Some),
            }
        };
        let renewed = renewed.await;
        self.registry.note(&renewed);
        renewed
    }

    async fn give_back(&self, revision: u64) {
        // No run begins any more.
        self.held.send_replace(None);
        if let Err(error) = self.registry.bucket.give_up(&self.key, revision).await {
            tracing::debug!("a lease is not given back: {error}");
        }
    }
}
