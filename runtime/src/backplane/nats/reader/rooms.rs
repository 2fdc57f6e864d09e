//! What a node subscribes to for a namespace: each room that its sockets are in, or, when these are many, all rooms.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_nats::{Message, Subject, Subscriber};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, stream::SelectAll};

use super::super::Joined;
use super::super::counters::Subscribed;
use super::super::topic::Topic;
use crate::hub::{Namespace, Place};

/// The subscriptions for a namespace.
pub(super) struct Subscriptions {
    joined: Arc<Joined>,
    topic: Arc<Topic>,
    /// Places that have to be looked at.
    to_do: Vec<Place>,
    /// For each place its subscriptions. While all rooms are subscribed to, rooms are not here.
    places: HashMap<Place, Vec<Handle>>,
    /// The subscription to all rooms.
    all: Option<Handle>,
    messages: SelectAll<Cancellable>,
}

/// Ends a subscription when it is dropped.
struct Handle(Arc<End>);

#[derive(Default)]
struct End {
    ended: AtomicBool,
    waker: AtomicWaker,
}

/// The messages of a subscription, until it is ended.
struct Cancellable {
    end: Arc<End>,
    subscriber: Subscriber,
    _subscribed: Subscribed,
}

impl Subscriptions {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            joined,
            topic,
            to_do: Vec::new(),
            places: HashMap::new(),
            all: None,
            messages: SelectAll::new(),
        }
    }

    /// Takes note of places that somebody is in who was not, or the other way round, once those before are done.
    pub(super) fn note(&mut self, changed: HashSet<Place>) {
        self.to_do.extend(changed);
    }

    /// Whether there is something to subscribe to, or to end.
    pub(super) fn are_behind(&self) -> bool {
        !self.to_do.is_empty()
    }

    /// What arrives. It has an end when there are no subscriptions.
    pub(super) fn messages(&mut self) -> &mut (impl Stream<Item = Message> + Unpin + use<>) {
        &mut self.messages
    }

    /// Looks at some of the places that have changed.
    pub(super) async fn catch_up(&mut self, namespace: &Namespace, most: usize) {
        let one_by_one = self.joined.rooms;
        let rooms = namespace.rooms_len();
        if self.all.is_none() && rooms > one_by_one {
            self.all = self.subscribe(self.topic.subjects.all_rooms()).await;
            self.settle().await;
            self.places.retain(|place, _| *place == Place::Whole);
        } else if self.all.is_some() && rooms <= one_by_one / 2 {
            for name in namespace.rooms() {
                self.look_at(namespace, Place::Room(name)).await;
            }
            self.settle().await;
            self.all = None;
        }
        let rest = self.to_do.len().saturating_sub(most);
        for place in self.to_do.split_off(rest) {
            if self.all.is_none() || place == Place::Whole {
                self.look_at(namespace, place).await;
            }
        }
    }

    /// Waits until what was subscribed to comes. What came by older subscriptions before is there then, so that these can
    /// end; what comes by both meanwhile is told by its number.
    async fn settle(&self) {
        self.joined.round_trip().await;
    }

    /// Subscribes to a place when somebody is in it, and ends that when nobody is.
    async fn look_at(&mut self, namespace: &Namespace, place: Place) {
        let wanted = namespace.is_in_use(&place);
        if wanted == self.places.contains_key(&place) {
            return;
        }
        if !wanted {
            self.places.remove(&place);
            return;
        }
        let mut handles = Vec::new();
        for subject in self.topic.subjects.place(&place, self.joined.node) {
            handles.extend(self.subscribe(subject).await);
        }
        self.places.insert(place, handles);
    }

    /// None when the client is gone, as at the end of the server.
    async fn subscribe(&mut self, subject: Subject) -> Option<Handle> {
        let subscriber = self.joined.nats.client().subscribe(subject).await.ok()?;
        let end = Arc::<End>::default();
        self.messages.push(Cancellable {
            end: end.clone(),
            subscriber,
            _subscribed: self.joined.counters.subscribe(),
        });
        Some(Handle(end))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

impl Stream for Cancellable {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.end.waker.register(cx.waker());
        // First, so that nothing comes between the two.
        let ended = self.end.ended.load(Ordering::Acquire);
        match Pin::new(&mut self.subscriber).poll_next(cx) {
            Poll::Pending if ended => Poll::Ready(None),
            polled => polled,
        }
    }
}
