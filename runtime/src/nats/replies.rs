//! Where answers arrive: those of other nodes, and those of the servers of NATS.
//!
//! The client can do that too, but keeps a place for each answer that never comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::client::SubscribeError;
use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;

/// Questions whose answers are awaited, by their numbers.
pub(super) struct Replies {
    /// What subjects of answers begin with.
    prefix: String,
    next: AtomicU64,
    awaited: Mutex<HashMap<u64, mpsc::UnboundedSender<Reply>>>,
}

/// What comes of a question.
#[derive(Debug)]
pub enum Reply {
    /// Somebody answers.
    Answer(Message),
    /// There is nobody to answer.
    Nobody,
}

/// A question whose answers are awaited, for as long as this is there.
pub struct Awaited {
    number: u64,
    replies: Arc<Replies>,
    answers: mpsc::UnboundedReceiver<Reply>,
}

impl Replies {
    /// Listens for answers, for as long as there is a client.
    pub(super) async fn listen(client: &Client, prefix: &str) -> Result<Arc<Self>, SubscribeError> {
        let inbox = client.new_inbox();
        let unique = inbox.rsplit('.').next().unwrap_or_default();
        let prefix = format!("{prefix}.reply.{unique}.");
        let answers = client.subscribe(format!("{prefix}*")).await?;
        let replies = Arc::new(Self {
            prefix,
            next: AtomicU64::new(0),
            awaited: Mutex::default(),
        });
        tokio::spawn(replies.clone().read(answers));
        Ok(replies)
    }

    /// Gives answers to who awaits them.
    async fn read(self: Arc<Self>, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
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
            _ => Reply::Answer(message),
        };
        if let Some(sender) = self.awaited().get(&number) {
            // Who awaited it may just have left.
            let _ = sender.send(reply);
        }
    }

    /// A new question.
    pub(super) fn await_some(self: &Arc<Self>) -> Awaited {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::unbounded_channel();
        self.awaited().insert(number, sender);
        Awaited {
            number,
            replies: self.clone(),
            answers,
        }
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Reply>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    /// Where answers are to be sent.
    #[must_use]
    pub fn subject(&self) -> Subject {
        format!("{}{}", self.replies.prefix, self.number).into()
    }

    /// The next answer. Cancel-safe.
    pub async fn next(&mut self) -> Reply {
        // The other end is kept for as long as this is.
        self.answers.recv().await.unwrap_or(Reply::Nobody)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.replies.awaited().remove(&self.number);
    }
}
