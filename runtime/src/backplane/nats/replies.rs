//! Where answers of other nodes arrive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::ids::NodeId;
use crate::nats::Nats;

/// Questions whose answers are awaited, by their numbers.
pub(super) struct Replies {
    /// What subjects of answers begin with.
    prefix: String,
    next: AtomicU64,
    awaited: Mutex<HashMap<u64, mpsc::UnboundedSender<Reply>>>,
}

/// What comes of a question.
#[derive(Debug)]
pub(super) enum Reply {
    /// Somebody answers.
    Answer(Bytes),
    /// There is nobody to answer.
    Nobody,
}

/// A question whose answers are awaited.
pub(super) struct Awaited {
    number: u64,
    replies: Arc<Replies>,
    answers: mpsc::UnboundedReceiver<Reply>,
}

impl Replies {
    pub(super) fn new(prefix: &str, node: NodeId) -> Arc<Self> {
        Arc::new(Self {
            prefix: format!("{prefix}.reply.{node}."),
            next: AtomicU64::new(0),
            awaited: Mutex::default(),
        })
    }

    /// Gives answers to who awaits them, for as long as there is a client.
    pub(super) async fn read(self: Arc<Self>, nats: Nats) {
        let Ok(mut subscriber) = nats.client().subscribe(format!("{}*", self.prefix)).await else {
            return;
        };
        while let Some(message) = subscriber.next().await {
            self.give(message);
        }
    }

    fn give(&self, message: Message) {
        let number = message.subject.strip_prefix(&self.prefix);
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            return;
        };
        let reply = match message.status {
            Some(StatusCode::NO_RESPONDERS) => Reply::Nobody,
            _ => Reply::Answer(message.payload),
        };
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = awaited.get(&number) {
            // Who awaited it may just have left.
            let _ = sender.send(reply);
        }
    }

    /// A new question.
    pub(super) fn await_some(self: &Arc<Self>) -> Awaited {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::unbounded_channel();
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(number, sender);
        Awaited {
            number,
            replies: self.clone(),
            answers,
        }
    }
}

impl Awaited {
    /// Where answers are to be sent.
    pub(super) fn subject(&self) -> Subject {
        format!("{}{}", self.replies.prefix, self.number).into()
    }

    /// The next answer. Cancel-safe.
    pub(super) async fn next(&mut self) -> Reply {
        // The other end is kept for as long as this is.
        self.answers.recv().await.unwrap_or(Reply::Nobody)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let awaited = &self.replies.awaited;
        let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(&self.number);
    }
}
