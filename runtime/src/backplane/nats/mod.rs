//! Nodes that are joined by NATS.
//!
//! A publication goes to this node's sockets at once, and to the subject of its room or namespace; the nodes that have
//! sockets there subscribe to it (`reader`). A message to a socket of another node goes to a subject of that node, which
//! answers what has come of it. Questions about a namespace are answered by all nodes (`questions`). Which there are is
//! known by their heartbeats (`peers`).
//!
//! Nothing is sent again: what is published while there is no connection is lost to the other nodes, and counted.

mod counters;
mod outcome;
mod peers;
#[doc(hidden)]
pub mod pieces;
#[doc(hidden)]
pub mod publication;
mod questions;
mod reader;
mod subjects;
mod topic;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use fastwebsockets::OpCode;
use futures_util::FutureExt;
use tokio::task::unconstrained;
use tokio::time::timeout;

use self::counters::Counters;
use self::peers::Peers;
use self::publication::{HEAD, Publication};
use self::reader::Reader;
use self::topic::{Topic, Topics, Watch};
use super::{
    Answer, Asking, Backplane, Leaving, NotCarried, Numbers, Published, Question, Reason,
    SendFailure, Sending, send_here,
};
use crate::config::Live;
use crate::hub::{Audience, Frame, Namespace};
use crate::ids::{NodeId, SocketId};
use crate::nats::{Nats, Reply};
use crate::quota::Spent;

/// What a message that waits to be sent takes in memory beside its bytes.
const OVERHEAD: usize = 1 << 10;

/// The backplane of a node that is joined with others by NATS. Clones are the same one.
#[derive(Clone)]
pub struct NatsBackplane(Arc<Joined>);

/// What the parts share.
struct Joined {
    node: NodeId,
    nats: Nats,
    config: Live,
    /// How many rooms of a namespace are subscribed to one by one.
    rooms: usize,
    queue_bytes: usize,
    /// How long others have to answer.
    patience: Duration,
    peers: Peers,
    counters: Arc<Counters>,
    /// Up to which publication it is sure that they have left.
    confirmed: AtomicU64,
    /// How many lost ones the log has told of.
    reported: AtomicU64,
    topics: Topics,
    /// What waits to be sent, in bytes, by tenant.
    waiting: Mutex<HashMap<Option<String>, Arc<AtomicUsize>>>,
}

impl NatsBackplane {
    /// Joins the other nodes, now and whenever there is a connection.
    #[must_use]
    pub fn join(node: NodeId, nats: &Nats, config: &Live) -> Self {
        let given = config.load_full();
        let joined = Arc::new(Joined {
            node,
            nats: nats.clone(),
            config: config.clone(),
            rooms: given.backplane.rooms,
            queue_bytes: given.backplane.queue_bytes,
            patience: given.backplane.request(),
            peers: Peers::default(),
            counters: Arc::default(),
            confirmed: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            topics: Topics::new(),
            waiting: Mutex::default(),
        });
        tokio::spawn(peers::meet(joined.clone(), given.backplane.heartbeat()));
        tokio::spawn(questions::answer(joined.clone()));
        Self(joined)
    }
}

impl Backplane for NatsBackplane {
    fn attach(&self, namespace: &Arc<Namespace>) {
        if namespace.has_interest() {
            return;
        }
        let joined = &self.0;
        let mut waiting = joined
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting
            .entry(namespace.tenant().map(str::to_owned))
            .or_default();
        let prefix = joined.nats.prefix();
        let topic = joined.topics.add(namespace, prefix, waiting.clone());
        namespace.set_interest(Arc::new(Watch(topic.clone())));
        tokio::spawn(Reader::new(joined.clone(), topic).read());
    }

    fn publish(&self, namespace: &Namespace, audience: Audience<'_>, frame: &Frame) -> Published {
        let here = namespace.deliver(audience, frame);
        let except = match audience {
            Audience::Room { except, .. } => except,
            Audience::Everybody => None,
        };
        let elsewhere = match self.0.topic(namespace) {
            Some(topic) => {
                // It costs something also when nobody is there.
                namespace.account().charge(Spent::Deliveries, 1);
                let subject = topic.subjects.audience(audience);
                self.0.carry(&topic, subject, None, except, frame)
            }
            None => Ok(()),
        };
        Published { here, elsewhere }
    }

    fn send_to(&self, namespace: &Namespace, socket: SocketId, frame: &Frame) -> Sending {
        let joined = self.0.clone();
        if socket.node() == joined.node {
            return Sending::Done(send_here(namespace, socket, frame));
        }
        let Some(topic) = joined.topic(namespace) else {
            return Sending::Done(Err(SendFailure::Unknown));
        };
        let mut awaited = joined.nats.await_answers();
        let subject = topic.subjects.node(socket.node());
        let reply = Some(awaited.subject());
        match joined.carry(&topic, subject, reply, Some(socket), frame) {
            Err(error) => Sending::Done(Err(error.into())),
            Ok(()) => Sending::Waiting(Box::pin(async move {
                match timeout(joined.patience, awaited.next()).await {
                    Ok(Reply::Answer(answer)) => outcome::outcome(&answer.payload),
                    Ok(Reply::Nobody) => Err(SendFailure::Unknown),
                    Err(_) => Err(SendFailure::Silent),
                }
            })),
        }
    }

    fn ask<'a>(&'a self, namespace: &'a Namespace, question: Question) -> Asking<'a> {
        Box::pin(questions::ask(&self.0, namespace, question))
    }

    fn leave(&self) -> Leaving<'_> {
        Box::pin(async {
            if self.0.nats.is_connected() {
                peers::leave(&self.0);
                // It is on its way when nothing waits any more.
                let _ = timeout(self.0.patience, self.0.nats.client().flush()).await;
            }
        })
    }

    fn numbers(&self) -> Numbers {
        let joined = &self.0;
        let connected = joined.nats.is_connected();
        let mut lost = joined.counters.lost();
        lost[Reason::Unread as usize] += joined.nats.unread();
        Numbers {
            connected: Some(connected),
            others: if connected {
                joined.peers.len() as u64
            } else {
                0
            },
            subscriptions: joined.counters.subscriptions(),
            published: joined.counters.published(),
            received: joined.counters.received(),
            lost,
        }
    }
}

impl Joined {
    fn topic(&self, namespace: &Namespace) -> Option<Arc<Topic>> {
        self.topics.get(namespace.tenant(), namespace.path())
    }

    /// Sends the message in a frame to a subject, in pieces when it is too large for the broker.
    fn carry(
        &self,
        topic: &Topic,
        subject: Subject,
        reply: Option<Subject>,
        socket: Option<SocketId>,
        frame: &Frame,
    ) -> Result<(), NotCarried> {
        let Some((opcode, body)) = frame.uncompressed() else {
            return Ok(());
        };
        // The broker counts the reply's head too.
        let most = self.nats.client().max_payload();
        let most = most.saturating_sub(HEAD + OVERHEAD).max(1 << 10);
        let number = topic.next_number();
        let parts =
            u16::try_from(body.len().div_ceil(most).max(1)).map_err(|_| NotCarried::Full)?;
        let each = HEAD + OVERHEAD;
        let mut room = self.room_for(topic, body.len() + usize::from(parts) * each)?;
        for part in 0..parts {
            let begin = usize::from(part) * most;
            let publication = Publication {
                origin: self.node,
                number,
                part,
                parts,
                text: opcode == OpCode::Text as u8,
                socket,
                body: &body[begin..body.len().min(begin + most)],
            };
            let payload = publication.encode();
            // Who waits for an answer gets it for the whole.
            let reply = reply.clone().filter(|_| part + 1 == parts);
            let room = room.split(payload.len() + OVERHEAD);
            self.hand_over(subject.clone(), reply, payload, room)?;
        }
        Ok(())
    }

    /// Room for so many bytes among what waits to be sent for a tenant. What finds nothing waiting has room at any size.
    fn room_for(&self, topic: &Topic, bytes: usize) -> Result<Room, NotCarried> {
        let before = topic.waiting.fetch_add(bytes, Ordering::Relaxed);
        let room = Room {
            bytes,
            waiting: topic.waiting.clone(),
        };
        if before > 0 && before + bytes > self.queue_bytes {
            self.counters.lose(Reason::Full, 1);
            return Err(NotCarried::Full);
        }
        Ok(room)
    }

    /// Hands something over that has its room until the client has taken it.
    fn hand_over(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        payload: Vec<u8>,
        room: Room,
    ) -> Result<(), NotCarried> {
        let waits = Waiting {
            payload,
            _room: room,
        };
        let handed = self.publish(subject, reply, Bytes::from_owner(waits));
        match handed {
            Ok(()) => self.counters.count_published(),
            Err(NotCarried::CutOff) => self.counters.lose(Reason::CutOff, 1),
            Err(NotCarried::Full) => self.counters.lose(Reason::Full, 1),
        }
        handed
    }

    /// Hands over a question, or the answer to one.
    fn send(
        &self,
        topic: &Topic,
        subject: Subject,
        reply: Option<Subject>,
        payload: Vec<u8>,
    ) -> Result<(), NotCarried> {
        let room = self.room_for(topic, payload.len() + OVERHEAD)?;
        self.hand_over(subject, reply, payload, room)
    }

    /// Hands something over to the client, if it can take it at once.
    fn publish(
        &self,
        subject: Subject,
        reply: Option<Subject>,
        payload: Bytes,
    ) -> Result<(), NotCarried> {
        if !self.nats.is_connected() {
            return Err(NotCarried::CutOff);
        }
        let client = self.nats.client();
        let published = match reply {
            None => unconstrained(client.publish(subject, payload)).now_or_never(),
            Some(reply) => {
                unconstrained(client.publish_with_reply(subject, reply, payload)).now_or_never()
            }
        };
        // Otherwise there is no room in the client's queue, or it is more than the broker takes.
        match published {
            Some(Ok(())) => Ok(()),
            _ => Err(NotCarried::Full),
        }
    }

    /// Publications of which it is not sure that they have left.
    fn unconfirmed(&self) -> u64 {
        let published = self.counters.published();
        let confirmed = self.confirmed.swap(published, Ordering::Relaxed);
        published.saturating_sub(confirmed)
    }

    /// Waits for the broker to have dealt with what was sent so far: an answer that nobody answers comes behind it.
    /// Returns whether it has come.
    async fn round_trip(&self) -> bool {
        let mut awaited = self.nats.await_answers();
        let nobody = format!("{}.nobody", self.nats.prefix());
        let asked = self.publish(nobody.into(), Some(awaited.subject()), Bytes::new());
        asked.is_ok() && timeout(self.patience, awaited.next()).await.is_ok()
    }
}

/// Bytes that count as waiting until it is dropped.
struct Room {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Room {
    /// Makes two of it, one of so many bytes, if there are as many.
    fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            bytes,
            waiting: self.waiting.clone(),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A payload in its room.
struct Waiting {
    payload: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}
