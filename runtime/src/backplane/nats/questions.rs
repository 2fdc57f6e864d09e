//! Questions about a namespace that all nodes answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::super::answer::{MOST, Part};
use super::topic::Topic;
use super::{Answer, Joined, NotCarried, Question};
use crate::hub::Namespace;
use crate::ids::NodeId;
use crate::nats::{Awaited, Reply};
use crate::quota::Spent;

/// Names in one message of an answer. A room's may be 256 bytes, and twice that when it is written down.
const NAMES: usize = 1_000;
/// How long an answer pauses when much of the tenant's waits to be sent.
const PAUSE: Duration = Duration::from_millis(1);

/// A question, as it is asked.
#[derive(Serialize, Deserialize)]
struct Asked {
    tenant: Option<String>,
    path: String,
    question: Question,
}

/// Part of what one node has to say.
#[derive(Serialize, Deserialize)]
struct Said {
    count: u64,
    names: Vec<String>,
    /// Whether that was all.
    last: bool,
}

impl Said {
    /// What a node says that does not know the namespace.
    fn nothing() -> Self {
        Self {
            count: 0,
            names: Vec::new(),
            last: true,
        }
    }
}

/// What has come of a question so far.
#[derive(Default)]
struct Gathered {
    parts: Vec<Part>,
    names: usize,
    /// Nodes that have said all.
    answered: usize,
    /// Nodes that are not there any more, as the broker knows.
    absent: usize,
}

/// Asks all nodes, each by itself, so that the broker can say which are not there.
pub(super) async fn ask(joined: &Joined, namespace: &Namespace, question: Question) -> Answer {
    let mut gathered = Gathered::default();
    gathered.parts.push(question.answer(namespace));
    let others = joined.peers.nodes();
    let mut awaited = joined.nats.await_answers();
    let asked = Asked {
        tenant: namespace.tenant().map(str::to_owned),
        path: namespace.path().to_owned(),
        question,
    };
    let mut under_way = 0;
    if let (Some(topic), Ok(payload)) = (joined.topic(namespace), serde_json::to_vec(&asked)) {
        for node in &others {
            let subject = subject(joined, *node).into();
            let sent = joined.send(&topic, subject, Some(awaited.subject()), payload.clone());
            under_way += usize::from(sent.is_ok());
        }
    }
    let _ = timeout(joined.patience, gathered.gather(&mut awaited, under_way)).await;
    let number = |nodes: usize| u32::try_from(nodes).unwrap_or(u32::MAX);
    let heard_of = gathered.answered + gathered.absent;
    let silent = number(others.len().saturating_sub(heard_of));
    Answer::of(gathered.parts, number(gathered.answered + 1), silent)
}

impl Gathered {
    /// Takes in answers until it has heard of so many nodes.
    async fn gather(&mut self, awaited: &mut Awaited, nodes: usize) {
        while self.answered + self.absent < nodes {
            match awaited.next().await {
                Reply::Nobody => self.absent += 1,
                Reply::Answer(said) => {
                    if let Ok(said) = serde_json::from_slice(&said.payload) {
                        self.add(said);
                    }
                }
            }
        }
    }

    fn add(&mut self, said: Said) {
        self.answered += usize::from(said.last);
        // What is over the bound is counted all the same.
        let room = (2 * MOST).saturating_sub(self.names);
        self.names += said.names.len();
        self.parts.push(Part {
            count: said.count,
            names: said.names.into_iter().take(room).collect(),
        });
    }
}

/// Answers what other nodes ask.
pub(super) async fn answer(joined: Arc<Joined>) {
    let subject = subject(&joined, joined.node);
    let Ok(mut questions) = joined.nats.client().subscribe(subject).await else {
        return;
    };
    while let Some(message) = questions.next().await {
        let Some(reply) = message.reply else { continue };
        let Ok(asked) = serde_json::from_slice::<Asked>(&message.payload) else {
            continue;
        };
        let topic = joined.topics.get(asked.tenant.as_deref(), &asked.path);
        match topic.and_then(|topic| Some((topic.namespace.upgrade()?, topic))) {
            None => {
                if let Ok(payload) = serde_json::to_vec(&Said::nothing()) {
                    let _ = joined.publish(reply, None, Bytes::from(payload));
                }
            }
            // What is one too many is not answered, which who asked takes for silence.
            Some((namespace, topic)) => {
                if let Ok(place) = topic.questions.clone().try_acquire_owned() {
                    let joined = joined.clone();
                    tokio::spawn(async move {
                        let answering = joined.say(&topic, &namespace, &asked.question, &reply);
                        // Nobody waits for longer.
                        let _ = timeout(joined.patience, answering).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

impl Joined {
    /// Says what this node knows of a namespace: one answer after the other, in the tenant's turns and its part of what may
    /// wait to be sent.
    async fn say(
        &self,
        topic: &Topic,
        namespace: &Namespace,
        question: &Question,
        reply: &Subject,
    ) {
        let Ok(_answering) = topic.answering.acquire().await else {
            return;
        };
        let account = namespace.account();
        let mut all = None;
        let work = || {
            let part = question.answer(namespace);
            all = Some(said(part));
            true
        };
        account.in_turns(work).await;
        for said in all.into_iter().flatten() {
            while topic.waiting.load(Ordering::Relaxed) > self.queue_bytes / 2 {
                sleep(PAUSE).await;
            }
            let mut sent = Err(NotCarried::Full);
            let work = || {
                if let Ok(payload) = serde_json::to_vec(&said) {
                    sent = self.send(topic, reply.clone(), None, payload);
                }
                true
            };
            account.in_turns(work).await;
            account.charge(Spent::Deliveries, 1);
            if sent.is_err() {
                return;
            }
        }
    }
}

/// What a node has to say, in messages that the broker takes.
fn said(part: Part) -> Vec<Said> {
    let mut names = part.names.into_iter();
    let mut all = Vec::new();
    loop {
        let some: Vec<String> = names.by_ref().take(NAMES).collect();
        let last = names.len() == 0;
        all.push(Said {
            count: if last { part.count } else { 0 },
            names: some,
            last,
        });
        if last {
            return all;
        }
    }
}

/// Where a node is asked.
fn subject(joined: &Joined, node: NodeId) -> String {
    format!("{}.ask.{node}", joined.nats.prefix())
}
