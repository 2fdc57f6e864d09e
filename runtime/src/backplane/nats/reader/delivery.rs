//! Delivers to a namespace's sockets here what other nodes have published to it.

use std::sync::Arc;

use async_nats::Message as Arrived;

use super::super::super::numbers::Reason;
use super::super::super::{SendFailure, send_here};
use super::super::pieces::{Added, Pieces};
use super::super::publication::Publication;
use super::super::topic::Topic;
use super::super::{Joined, outcome};
use super::arrivals::Arrivals;
use crate::hub::{Audience, Frame, Namespace};
use crate::message::Message;
use crate::quota::Spent;

/// What delivers to a namespace.
pub(super) struct Delivery {
    joined: Arc<Joined>,
    topic: Arc<Topic>,
    arrivals: Arrivals,
    pieces: Pieces,
}

impl Delivery {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            joined,
            topic,
            arrivals: Arrivals::default(),
            pieces: Pieces::default(),
        }
    }

    /// What has arrived, as it is understood.
    pub(super) fn decode(&self, arrived: Arrived) -> Option<(Arrived, Publication)> {
        let publication = Publication::decode(&arrived.payload);
        if publication.is_none() {
            self.joined.counters.lose(Reason::Malformed, 1);
        }
        Some((arrived, publication?))
    }

    /// Returns how many sockets were addressed.
    pub(super) fn deliver(
        &mut self,
        namespace: &Namespace,
        arrived: Arrived,
        publication: Publication,
    ) -> u32 {
        let socket = publication.socket;
        let Some(frame) = self.frame(namespace, publication) else {
            return 0;
        };
        if let Some(reply) = arrived.reply {
            let sent = socket.ok_or(SendFailure::Unknown);
            let sent = sent.and_then(|socket| send_here(namespace, socket, &frame));
            let answer = vec![outcome::code(sent)];
            // When it cannot be sent, who asked waits in vain, but not for long.
            let _ = self.joined.send(&self.topic, reply, None, answer);
            return 1;
        }
        let room = self.topic.subjects.room_of(&arrived.subject);
        let audience = match &room {
            Some(name) => Audience::Room {
                name,
                except: socket,
            },
            None if arrived.subject == self.topic.subjects.everybody() => Audience::Everybody,
            None => {
                self.joined.counters.lose(Reason::Malformed, 1);
                return 0;
            }
        };
        let addressed = namespace.deliver(audience, &frame);
        namespace
            .account()
            .charge(Spent::Deliveries, addressed.into());
        addressed
    }

    /// The frame of a message that is whole with this; none when it is not, or has been delivered before.
    fn frame(&mut self, namespace: &Namespace, publication: Publication) -> Option<Frame> {
        let counters = &self.joined.counters;
        // This node's own has been delivered before it was sent.
        if publication.origin == self.joined.node {
            return None;
        }
        let key = (publication.origin, publication.number);
        let text = publication.text;
        let body = match publication.parts {
            1 => publication.body,
            // Another subscription may have brought all of it, and this one not its beginning.
            _ if self.arrivals.has(key) => return None,
            _ => {
                let most = self.joined.config.load().largest_message_bytes();
                match self.pieces.add(publication, most) {
                    Added::Whole(body) => body,
                    Added::Waits => return None,
                    Added::Lost => {
                        counters.lose(Reason::Malformed, 1);
                        return None;
                    }
                }
            }
        };
        if !self.arrivals.is_new(key) {
            return None;
        }
        let message = match text {
            true => std::str::from_utf8(&body).ok().map(Message::Text),
            false => Some(Message::Binary(&body)),
        };
        let Some(message) = message else {
            counters.lose(Reason::Malformed, 1);
            return None;
        };
        let frame = Frame::counted(message, namespace.account());
        if frame.is_none() {
            counters.lose(Reason::Quota, 1);
        }
        frame
    }
}
