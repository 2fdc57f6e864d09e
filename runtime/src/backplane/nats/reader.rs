//! Reads what other nodes publish to a namespace, and has it delivered here.
//!
//! Each namespace has a reader of its own, so that none waits behind the crowds of another. Delivering is the tenant's work,
//! in its turns. What comes while these are waited for counts as what waits to be written to its sockets.

mod arrivals;
mod delivery;
mod rooms;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_nats::Message as Arrived;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::yield_now;

use self::delivery::Delivery;
use self::rooms::Subscriptions;
use super::super::numbers::Reason;
use super::topic::Topic;
use super::{Joined, OVERHEAD};
use crate::hub::turn;
use crate::nats::Link;
use crate::quota::{Held, Hold};

/// Messages that are read before they are delivered.
const BATCH: usize = 256;
/// What is delivered in one turn, some milliseconds' worth: to so many sockets, of so many times [`BYTES`] that may have to be
/// compressed, or some of both. A message is delivered to all of its sockets in one turn.
const IN_A_TURN: usize = 4096;
/// Bytes that take as long to compress as it takes to queue something to a socket.
const BYTES: usize = 16;
/// Places that are subscribed to before messages are looked after again.
const AT_ONCE: usize = 64;

/// What reads for a namespace.
pub(super) struct Reader {
    joined: Arc<Joined>,
    topic: Arc<Topic>,
    subscriptions: Subscriptions,
    /// What has come while a turn was waited for, as it counts.
    late: VecDeque<(Arrived, Hold)>,
    delivery: Delivery,
}

impl Reader {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            subscriptions: Subscriptions::new(joined.clone(), topic.clone()),
            late: VecDeque::new(),
            delivery: Delivery::new(joined.clone(), topic.clone()),
            joined,
            topic,
        }
    }

    /// Reads until the namespace is gone.
    pub(super) async fn read(mut self) {
        let topic = self.topic.clone();
        let mut link = self.joined.nats.link();
        while !topic.has_ended() {
            let Some(namespace) = topic.namespace.upgrade() else {
                return;
            };
            if !self.subscriptions.are_behind(&namespace) {
                self.subscriptions.note(topic.take());
            }
            if self.subscriptions.are_behind(&namespace) && self.can_subscribe(&link) {
                self.subscriptions.catch_up(&namespace, AT_ONCE).await;
                drop(namespace);
                let next = self.next().now_or_never();
                if let Some(Some(first)) = next {
                    self.deliver_with(first).await;
                }
            } else {
                // Nobody has a namespace from here while nothing happens.
                drop(namespace);
                tokio::select! {
                    Some(first) = self.next() => self.deliver_with(first).await,
                    () = topic.changed() => {}
                    Ok(()) = link.changed() => {}
                }
            }
            yield_now().await;
        }
    }

    /// Whether there is a connection. Without one, what is subscribed to and not any more would pile up in the client; what has
    /// changed does not. Of a connection that comes the news or the client may be the first to know.
    fn can_subscribe(&self, link: &watch::Receiver<Link>) -> bool {
        *link.borrow() == Link::Up || self.joined.nats.is_connected()
    }

    /// The next message. None when there are no subscriptions. Cancel-safe.
    async fn next(&mut self) -> Option<Arrived> {
        let Some((arrived, _)) = self.late.pop_front() else {
            return self.subscriptions.messages().next().await;
        };
        if self.late.is_empty() {
            // There were many perhaps, which is rare.
            self.late = VecDeque::new();
        }
        Some(arrived)
    }

    /// Delivers a message and those that are there already, in turns of the tenant's.
    async fn deliver_with(&mut self, first: Arrived) {
        let Some(namespace) = self.topic.namespace.upgrade() else {
            return;
        };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(Some(next)) = self.next().now_or_never()
        {
            batch.push(next);
        }
        self.joined.counters.count_received(batch.len());
        let delivery = &mut self.delivery;
        let decoded = batch.into_iter().filter_map(|it| delivery.decode(it));
        let mut batch: Vec<_> = decoded.collect();
        // Each subscription has a queue of its own; what one node has sent to several is put into its order again.
        batch.sort_by_key(|(_, publication)| {
            (publication.origin, publication.number, publication.part)
        });
        let mut batch = batch.into_iter();
        let mut piece = || {
            let mut left = IN_A_TURN;
            while left > 0
                && let Some((arrived, publication)) = batch.next()
            {
                let bytes = publication.body.len();
                let addressed = delivery.deliver(&namespace, arrived, publication);
                left = left.saturating_sub(1 + addressed as usize + bytes / BYTES);
            }
            batch.len() == 0
        };
        let account = namespace.account();
        let mut delivering = pin!(account.in_turns(|| turn(&mut piece)));
        let (late, counters) = (&mut self.late, &self.joined.counters);
        let messages = self.subscriptions.messages();
        poll_fn(|cx| {
            if delivering.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            for _ in 0..BATCH {
                let Poll::Ready(Some(arrived)) = messages.poll_next_unpin(cx) else {
                    return Poll::Pending;
                };
                let bytes = arrived.payload.len() + OVERHEAD;
                match account.hold(Held::Queued, bytes as u64) {
                    Some(hold) => late.push_back((arrived, hold)),
                    None => {
                        counters.count_received(1);
                        counters.lose(Reason::Quota, 1);
                    }
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
