//! Which other nodes there are: those that say so again and again.

use std::collections::HashMap;
use std::mem::replace;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::super::numbers::Reason;
use super::Joined;
use crate::ids::NodeId;
use crate::nats::Link;

/// How many heartbeats a node may miss.
const MISSED: u32 = 3;
/// What a node says that is there.
const HERE: u8 = 1;
/// What it says when it goes.
const GONE: u8 = 0;

/// The other nodes, and when each was heard last.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<NodeId, Instant>>);

impl Peers {
    fn heard(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.heard().len()
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.heard().keys().copied().collect()
    }

    /// Whether it was not known.
    fn hear(&self, node: NodeId) -> bool {
        self.heard().insert(node, Instant::now()).is_none()
    }

    fn forget(&self, node: NodeId) -> bool {
        self.heard().remove(&node).is_some()
    }

    /// Forgets those that were silent for so long.
    fn expire(&self, silence: Duration) -> Vec<NodeId> {
        let mut gone = Vec::new();
        self.heard().retain(|node, heard| {
            let is_here = heard.elapsed() < silence;
            if !is_here {
                gone.push(*node);
            }
            is_here
        });
        gone
    }

    /// While nobody could be heard, nobody was silent.
    fn excuse(&self) {
        for heard in self.heard().values_mut() {
            *heard = Instant::now();
        }
    }
}

/// Says that this node is there, hears who else is, and reports what was lost while nobody could be heard.
pub(super) async fn meet(joined: Arc<Joined>, every: Duration) {
    let subject = format!("{}.alive", joined.nats.prefix());
    let Ok(mut heard) = joined.nats.client().subscribe(subject).await else {
        return;
    };
    let mut link = joined.nats.link();
    let mut losses = joined.nats.losses();
    let mut beat = interval(every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                if *link.borrow() == Link::Up {
                    say(&joined, HERE);
                    confirm(&joined);
                    for node in joined.peers.expire(every * MISSED) {
                        tracing::warn!("node {node} has not been heard for {} ms: it is gone", (every * MISSED).as_millis());
                    }
                }
            }
            Some(message) = heard.next() => hear(&joined, &message.payload),
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
                turn_of(&joined, &mut link, &mut losses);
            }
        }
    }
}

/// What is to be done when a connection has come or gone, or the one after the other.
fn turn_of(joined: &Arc<Joined>, link: &mut watch::Receiver<Link>, losses: &mut u64) {
    let is_up = *link.borrow_and_update() == Link::Up;
    let lost = joined.nats.losses();
    if replace(losses, lost) != lost {
        let unconfirmed = joined.unconfirmed();
        if unconfirmed > 0 {
            joined.counters.lose(Reason::Unconfirmed, unconfirmed);
            tracing::warn!(
                "{unconfirmed} publications of this node were under way when the connection was lost, and may have \
                 reached the others or not"
            );
        }
    }
    if is_up {
        joined.peers.excuse();
        say(joined, HERE);
        let lost = joined.counters.lost()[Reason::CutOff as usize];
        let before = joined.reported.swap(lost, Ordering::Relaxed);
        if lost > before {
            tracing::warn!(
                "{} publications of this node have not reached the others, because there was no connection",
                lost - before
            );
        }
    }
}

fn hear(joined: &Arc<Joined>, said: &[u8]) {
    let Some((&what, node)) = said.split_first() else {
        return;
    };
    let Ok(node) = node.try_into().map(NodeId::from_bytes) else {
        return;
    };
    if what == GONE {
        if joined.peers.forget(node) {
            tracing::info!("node {node} has left");
        }
    } else if joined.peers.hear(node) {
        tracing::info!("node {node} is there");
        // It need not wait until the next time.
        say(joined, HERE);
    }
}

fn say(joined: &Joined, what: u8) {
    let mut bytes = vec![what];
    bytes.extend(joined.node.to_bytes());
    let subject = format!("{}.alive", joined.nats.prefix());
    // Said again soon.
    let _ = joined.publish(subject.into(), None, Bytes::from(bytes));
}

/// Says that this node goes.
pub(super) fn leave(joined: &Joined) {
    say(joined, GONE);
}

/// Finds out that what was published until now has left: an answer that nobody is there comes behind it.
fn confirm(joined: &Arc<Joined>) {
    let joined = joined.clone();
    tokio::spawn(async move {
        let until = joined.counters.published();
        if joined.round_trip().await {
            joined.confirmed.fetch_max(until, Ordering::Relaxed);
        }
    });
}
