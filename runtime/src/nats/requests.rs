//! What is asked of the servers of NATS.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use tokio::time::timeout;

use super::{Link, Nats, Reply};

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

impl Nats {
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
        let mut awaited = self.replies.await_some();
        let reply = awaited.subject();
        let asked = async {
            let client = &self.client;
            let published = match headers {
                None => client.publish_with_reply(subject, reply, payload).await,
                Some(headers) => {
                    let with_headers = Client::publish_with_reply_and_headers;
                    with_headers(client, subject, reply, headers, payload).await
                }
            };
            match published {
                Ok(()) => Ok(awaited.next().await),
                Err(_) => Err(Unanswered::CutOff),
            }
        };
        let reply = tokio::select! {
            biased;
            () = cut_off => return Err(Unanswered::CutOff),
            reply = timeout(patience, asked) => reply.map_err(|_| Unanswered::Silent)??,
        };
        match reply {
            Reply::Answer(answer) => Ok(answer),
            Reply::Nobody => Err(Unanswered::Nobody),
        }
    }
}
