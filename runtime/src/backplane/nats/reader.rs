//! Reads what other nodes publish to a namespace, and delivers it here.
//!
//! Each namespace has a reader of its own, so that none waits behind the crowds of another.

mod arrivals;
mod rooms;

use std::sync::Arc;

use async_nats::Message as Arrived;
use futures_util::{FutureExt, StreamExt};
use tokio::task::yield_now;

use self::arrivals::Arrivals;
use self::rooms::Subscriptions;
use super::super::numbers::Reason;
use super::super::{SendFailure, send_here};
use super::pieces::{Added, Pieces};
use super::publication::Publication;
use super::topic::Topic;
use super::{Joined, outcome};
use crate::hub::{Audience, Frame, Namespace, turn};
use crate::message::Message;
use crate::quota::Spent;

/// Messages that are delivered in one turn.
const BATCH: usize = 256;
/// Places that are subscribed to before messages are looked after again.
const AT_ONCE: usize = 64;

/// What reads for a namespace.
pub(super) struct Reader {
    joined: Arc<Joined>,
    topic: Arc<Topic>,
    subscriptions: Subscriptions,
    arrivals: Arrivals,
    pieces: Pieces,
}

impl Reader {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            subscriptions: Subscriptions::new(joined.clone(), topic.clone()),
            arrivals: Arrivals::default(),
            pieces: Pieces::default(),
            joined,
            topic,
        }
    }

    /// Reads until the namespace is gone.
    pub(super) async fn read(mut self) {
        while !self.topic.has_ended() {
            let Some(namespace) = self.topic.namespace.upgrade() else {
                return;
            };
            if !self.subscriptions.are_behind(&namespace) {
                self.subscriptions.note(self.topic.take());
            }
            if self.subscriptions.are_behind(&namespace) {
                self.subscriptions.catch_up(&namespace, AT_ONCE).await;
                drop(namespace);
                let next = self.subscriptions.messages().next().now_or_never();
                if let Some(Some(first)) = next {
                    self.deliver_with(first);
                }
            } else {
                // Nobody has a namespace from here while nothing happens.
                drop(namespace);
                tokio::select! {
                    Some(first) = self.subscriptions.messages().next() => self.deliver_with(first),
                    () = self.topic.changed() => {}
                }
            }
            yield_now().await;
        }
    }

    /// Delivers a message and those that are there already.
    fn deliver_with(&mut self, first: Arrived) {
        let Some(namespace) = self.topic.namespace.upgrade() else {
            return;
        };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(Some(next)) = self.subscriptions.messages().next().now_or_never()
        {
            batch.push(next);
        }
        self.joined.counters.count_received(batch.len());
        let decoded = batch.into_iter().filter_map(|arrived| {
            let publication = Publication::decode(&arrived.payload);
            if publication.is_none() {
                self.joined.counters.lose(Reason::Malformed, 1);
            }
            Some((arrived, publication?))
        });
        let mut batch: Vec<_> = decoded.collect();
        // Each subscription has a queue of its own; what one node has sent to several is put into its order again.
        batch.sort_by_key(|(_, publication)| {
            (publication.origin, publication.number, publication.part)
        });
        turn(|| {
            for (arrived, publication) in batch {
                self.deliver(&namespace, arrived, publication);
            }
        });
    }

    fn deliver(&mut self, namespace: &Namespace, arrived: Arrived, publication: Publication) {
        // This node's own has been delivered before it was sent.
        if publication.origin == self.joined.node {
            return;
        }
        let key = (publication.origin, publication.number);
        let (text, socket) = (publication.text, publication.socket);
        let body = match publication.parts {
            1 => publication.body,
            _ => {
                let most = self.joined.config.load().largest_message_bytes();
                match self.pieces.add(publication, most) {
                    Added::Whole(body) => body,
                    Added::Waits => return,
                    Added::Lost => return self.joined.counters.lose(Reason::Malformed, 1),
                }
            }
        };
        if !self.arrivals.is_new(key) {
            return;
        }
        let Some(frame) = self.frame(namespace, text, &body) else {
            return;
        };
        if let Some(reply) = arrived.reply {
            let sent = socket.ok_or(SendFailure::Unknown);
            let sent = sent.and_then(|socket| send_here(namespace, socket, &frame));
            let answer = vec![outcome::code(sent)];
            // When it cannot be sent, who asked waits in vain, but not for long.
            let _ = self.joined.answer(&self.topic, reply, answer);
            return;
        }
        let room = self.topic.subjects.room_of(&arrived.subject);
        let audience = match &room {
            Some(name) => Audience::Room {
                name,
                except: socket,
            },
            None if arrived.subject == self.topic.subjects.everybody() => Audience::Everybody,
            None => return self.joined.counters.lose(Reason::Malformed, 1),
        };
        let addressed = namespace.deliver(audience, &frame);
        namespace
            .account()
            .charge(Spent::Deliveries, addressed.into());
    }

    fn frame(&self, namespace: &Namespace, text: bool, body: &[u8]) -> Option<Frame> {
        let message = match text {
            true => std::str::from_utf8(body).ok().map(Message::Text),
            false => Some(Message::Binary(body)),
        };
        let Some(message) = message else {
            self.joined.counters.lose(Reason::Malformed, 1);
            return None;
        };
        let frame = Frame::counted(message, namespace.account());
        if frame.is_none() {
            self.joined.counters.lose(Reason::Quota, 1);
        }
        frame
    }
}
