//! What is asked of the servers of NATS, and where their answers arrive.
//!
//! The client can do that too, but keeps a place for each answer that never comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::client::SubscribeError;
use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::Link;

/// Requests whose answers are awaited.
pub(super) struct Requests {
    client: Client,
    link: watch::Receiver<Link>,
    /// What subjects of answers begin with.
    prefix: String,
    next: AtomicU64,
    awaited: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There is no connection, or it was lost meanwhile.
    CutOff,
    /// Nothing has come in time.
    Silent,
    /// There is nobody to answer.
    Nobody,
}

/// A place for an answer, for as long as it is awaited.
struct Awaited<'a> {
    number: u64,
    requests: &'a Requests,
}

impl Requests {
    /// Listens for answers, for as long as there is a client.
    pub(super) async fn listen(
        client: Client,
        link: watch::Receiver<Link>,
        prefix: &str,
    ) -> Result<Arc<Self>, SubscribeError> {
        let inbox = client.new_inbox();
        let unique = inbox.rsplit('.').next().unwrap_or_default();
        let prefix = format!("{prefix}.reply.{unique}.");
        let answers = client.subscribe(format!("{prefix}*")).await?;
        let requests = Arc::new(Self {
            client,
            link,
            prefix,
            next: AtomicU64::new(0),
            awaited: Mutex::default(),
        });
        tokio::spawn(requests.clone().read(answers));
        Ok(requests)
    }

    /// Asks, and waits for the answer, but no longer than that. When it is dropped nobody waits any more.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Message, Unanswered> {
        let mut link = self.link.clone();
        let cut_off = async move {
            let _ = link.wait_for(|link| *link != Link::Up).await;
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.awaited().insert(number, sender);
        let _awaited = Awaited {
            number,
            requests: self,
        };
        let reply = format!("{}{number}", self.prefix);
        let asked = async {
            let client = &self.client;
            let published = match headers {
                None => client.publish_with_reply(subject, reply, payload).await,
                Some(headers) => {
                    let with_headers = Client::publish_with_reply_and_headers;
                    with_headers(client, subject, reply, headers, payload).await
                }
            };
            published.map_err(|_| Unanswered::CutOff)?;
            answer.await.map_err(|_| Unanswered::CutOff)
        };
        let answer = tokio::select! {
            biased;
            () = cut_off => return Err(Unanswered::CutOff),
            answer = timeout(patience, asked) => answer.map_err(|_| Unanswered::Silent)??,
        };
        match answer.status {
            Some(StatusCode::NO_RESPONDERS) => Err(Unanswered::Nobody),
            _ => Ok(answer),
        }
    }

    /// Gives answers to who awaits them.
    async fn read(self: Arc<Self>, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let number = message.subject.strip_prefix(&self.prefix);
            let number = number.and_then(|number| number.parse().ok());
            let awaited = number.and_then(|number: u64| self.awaited().remove(&number));
            if let Some(sender) = awaited {
                // Who awaited it may just have left.
                let _ = sender.send(message);
            }
        }
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.requests.awaited().remove(&self.number);
    }
}
