//! What a node subscribes to for a namespace: each room that its sockets are in, or, when these are many, all rooms.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::mem::replace;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt, stream::SelectAll};
use tokio::task::coop::unconstrained;
use tokio::time::sleep;

use super::super::Joined;
use super::super::counters::Subscribed;
use super::super::topic::Topic;
use crate::hub::{Namespace, Place};

/// How often it is asked at most whether what was subscribed to comes.
const ROUND_TRIPS: usize = 3;
/// How long a broker may take from knowing for whom a message is to sending it.
const LINGER: Duration = Duration::from_millis(250);

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
    /// Whether nobody wants any more what it has brought.
    abandoned: AtomicBool,
    waker: AtomicWaker,
}

/// The messages of a subscription, until it is ended and all that it has brought is read, or nobody wants it any more.
struct Cancellable<S = Subscriber> {
    end: Arc<End>,
    subscriber: S,
    /// What it replaces, which is read first.
    before: Option<Weak<Unread>>,
    /// Whether it waits for that.
    waits: bool,
    /// What others wait for, until it has been read.
    _unread: Option<Arc<Unread>>,
    _subscribed: Subscribed,
}

/// Subscriptions that are being replaced: whoever comes after them waits until the last of them is dropped.
struct Unread {
    topic: Arc<Topic>,
    waiting: Mutex<Vec<Waker>>,
}

impl Subscriptions {
    pub(super) fn new(joined: Arc<Joined>, topic: Arc<Topic>) -> Self {
        Self {
            rooms: Unread::of(&topic),
            replaced: Weak::new(),
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
    pub(super) fn are_behind(&self, namespace: &Namespace) -> bool {
        !self.to_do.is_empty() || self.should_go_over(namespace)
    }

    /// Whether it is time to go over from rooms one by one to all of them, or back: one after the other, so that there are
    /// never more subscriptions than those of both.
    fn should_go_over(&self, namespace: &Namespace) -> bool {
        let (one_by_one, rooms) = (self.joined.rooms, namespace.rooms_len());
        let should = match self.all {
            None => rooms > one_by_one,
            Some(_) => rooms <= one_by_one / 2,
        };
        should && self.replaced.strong_count() == 0
    }

    /// What arrives. It has an end when there are no subscriptions.
    pub(super) fn messages(&mut self) -> &mut (impl Stream<Item = Message> + Unpin + use<>) {
        &mut self.messages
    }

    /// Looks at some of the places that have changed.
    pub(super) async fn catch_up(&mut self, namespace: &Namespace, most: usize) {
        if self.should_go_over(namespace) {
            self.go_over(namespace).await;
        }
        let rest = self.to_do.len().saturating_sub(most);
        for place in self.to_do.split_off(rest) {
            if self.all.is_none() || place == Place::Whole {
                self.look_at(namespace, place).await;
            }
        }
    }

    /// Goes over from rooms one by one to all of them, or back. What is subscribed to from now on is read when all has been
    /// read that has come by what it replaces, which is not ended before both come. So the order is kept.
    async fn go_over(&mut self, namespace: &Namespace) {
        let replaced = replace(&mut self.rooms, Unread::of(&self.topic));
        self.replaced = Arc::downgrade(&replaced);
        drop(replaced);
        let old: Vec<Handle> = match self.all.take() {
            None => {
                let all = self.topic.subjects.all_rooms();
                self.all = self.subscribe(all, true).await;
                let rooms = |place: &Place, _: &mut Vec<Handle>| *place != Place::Whole;
                let old = self.places.extract_if(rooms);
                old.flat_map(|(_, handles)| handles).collect()
            }
            Some(all) => {
                for name in namespace.rooms() {
                    self.look_at(namespace, Place::Room(name)).await;
                }
                vec![all]
            }
        };
        self.end_later(old);
    }

    /// Ends subscriptions when what was subscribed to in their place comes, and all that came by them alone is there. What
    /// comes by both meanwhile is told by its number.
    fn end_later(&self, old: Vec<Handle>) {
        let joined = self.joined.clone();
        tokio::spawn(async move {
            for _ in 0..ROUND_TRIPS {
                if joined.round_trip().await {
                    break;
                }
            }
            // The broker looks up for whom a message is, and sends it a moment later: it may come behind the answer.
            sleep(LINGER).await;
            drop(old);
        });
    }

    /// Subscribes to a place when somebody is in it, and ends that when nobody is.
    async fn look_at(&mut self, namespace: &Namespace, place: Place) {
        let wanted = namespace.is_in_use(&place);
        if wanted == self.places.contains_key(&place) {
            return;
        }
        if !wanted {
            let left = self.places.remove(&place).into_iter().flatten();
            // To what has come for single sockets there are answers to give.
            left.filter(|_| place != Place::Whole)
                .for_each(Handle::abandon);
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

impl Handle {
    /// Ends the subscription with all that it has brought. Who subscribes next then finds nothing of it in the way, which would
    /// come out of order.
    fn abandon(self) {
        self.0.abandoned.store(true, Ordering::Release);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

impl<S: Stream<Item = Message> + Unpin> Stream for Cancellable<S> {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.end.waker.register(cx.waker());
        if self.end.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
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
    fn of(topic: &Arc<Topic>) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.clone(),
            waiting: Mutex::default(),
        })
    }

    fn wake_when_read(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(waker.clone());
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let waiting = self.waiting.get_mut();
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).for_each(Waker::wake);
        // It may be time to go over again.
        self.topic.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::nats::counters::Counters;
    use futures_util::stream::{iter, pending};

    /// A subscription that has brought so many messages.
    fn subscription(count: usize) -> (Handle, Cancellable<impl Stream<Item = Message> + Unpin>) {
        let message = |_| Message {
            subject: "room".into(),
            reply: None,
            payload: "text".into(),
            headers: None,
            status: None,
            description: None,
            length: 4,
        };
        let end = Arc::<End>::default();
        let messages = Cancellable {
            end: end.clone(),
            subscriber: iter(0..count).map(message).chain(pending()),
            before: None,
            waits: false,
            _unread: None,
            _subscribed: Arc::<Counters>::default().subscribe(),
        };
        (Handle(end), messages)
    }

    #[tokio::test]
    async fn r5_what_is_replaced_is_read_to_its_end_and_what_nobody_wants_is_not() {
        let (handle, mut messages) = subscription(3);
        assert!(messages.next().await.is_some());
        drop(handle);
        assert_eq!(messages.count().await, 2);
        let (handle, mut messages) = subscription(3);
        assert!(messages.next().await.is_some());
        handle.abandon();
        assert_eq!(messages.count().await, 0);
    }

    #[tokio::test]
    async fn who_waits_for_a_message_hears_that_nobody_wants_it_any_more() {
        let (handle, mut messages) = subscription(0);
        let waiting = tokio::spawn(async move { messages.next().await.is_none() });
        tokio::task::yield_now().await;
        handle.abandon();
        assert!(waiting.await.unwrap());
    }
}
