//! What a node subscribes to for a namespace: each room that its sockets are in, or, when these are many, all rooms.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use async_nats::{Message, Subject, Subscriber};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt, stream::SelectAll};
use tokio::task::coop::unconstrained;

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
    /// The subscriptions to rooms, all or one by one, until they are replaced by the others.
    rooms: Arc<Unread>,
    /// Those that they have replaced.
    replaced: Weak<Unread>,
    messages: SelectAll<Cancellable>,
}

/// Ends a subscription when it is dropped.
struct Handle(Arc<End>);

#[derive(Default)]
struct End {
    ended: AtomicBool,
    waker: AtomicWaker,
}

/// The messages of a subscription, until it is ended and all that it has brought is read.
struct Cancellable {
    end: Arc<End>,
    subscriber: Subscriber,
    /// What it replaces, which is read first.
    before: Option<Weak<Unread>>,
    /// Whether it waits for that.
    waits: bool,
    /// What others wait for, until it has been read.
    _unread: Option<Arc<Unread>>,
    _subscribed: Subscribed,
}

/// Subscriptions that are being replaced: whoever comes after them waits until the last of them is dropped.
#[derive(Default)]
struct Unread(Mutex<Vec<Waker>>);

impl Subscriptions {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            joined,
            topic,
            to_do: Vec::new(),
            places: HashMap::new(),
            all: None,
            rooms: Arc::default(),
            replaced: Weak::new(),
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
            self.replace_rooms();
            let all = self.topic.subjects.all_rooms();
            self.all = self.subscribe(all, true).await;
            self.settle().await;
            self.places.retain(|place, _| *place == Place::Whole);
        } else if self.all.is_some() && rooms <= one_by_one / 2 {
            self.replace_rooms();
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

    /// What is subscribed to from now on is read when all has been read that has come by what it replaces, which is not
    /// ended before both come. So the order is kept.
    fn replace_rooms(&mut self) {
        let replaced = std::mem::take(&mut self.rooms);
        self.replaced = Arc::downgrade(&replaced);
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
            let is_room = place != Place::Whole;
            handles.extend(self.subscribe(subject, is_room).await);
        }
        self.places.insert(place, handles);
    }

    /// None when the client is gone, as at the end of the server.
    async fn subscribe(&mut self, subject: Subject, is_room: bool) -> Option<Handle> {
        let subscriber = self.joined.nats.client().subscribe(subject).await.ok()?;
        let end = Arc::<End>::default();
        self.messages.push(Cancellable {
            end: end.clone(),
            subscriber,
            before: is_room.then(|| self.replaced.clone()),
            waits: false,
            _unread: is_room.then(|| self.rooms.clone()),
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
        if let Some(unread) = self.before.as_ref().and_then(Weak::upgrade) {
            // Once: its waker is that of its place in the one stream of all.
            if !self.waits {
                unread.wake_when_read(cx.waker());
                self.waits = true;
            }
            return Poll::Pending;
        }
        self.before = None;
        // First, so that nothing comes between the two.
        let ended = self.end.ended.load(Ordering::Acquire);
        // That this task has had its share for now is no end.
        let next = pin!(unconstrained(self.subscriber.next()));
        match next.poll(cx) {
            Poll::Pending if ended => Poll::Ready(None),
            polled => polled,
        }
    }
}

impl Unread {
    fn wake_when_read(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(waker.clone());
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let wakers = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        wakers.drain(..).for_each(Waker::wake);
    }
}
