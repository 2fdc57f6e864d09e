//! Questions about a namespace that all nodes answer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::super::answer::{MOST, Part};
use super::replies::{Awaited, Reply};
use super::{Answer, Joined, Question};
use crate::hub::Namespace;

/// Names in one message of an answer. A room's may be 256 bytes, and twice that when it is written down.
const NAMES: usize = 1_000;

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

/// Asks all nodes.
pub(super) async fn ask(joined: &Joined, namespace: &Namespace, question: Question) -> Answer {
    let mut parts = vec![question.answer(namespace)];
    let others = joined.peers.len();
    if others == 0 {
        return Answer::of(parts, 1, 0);
    }
    let mut awaited = joined.replies.await_some();
    let asked = Asked {
        tenant: namespace.tenant().map(str::to_owned),
        path: namespace.path().to_owned(),
        question,
    };
    let mut answered = 0;
    if let Ok(payload) = serde_json::to_vec(&asked)
        && joined
            .publish(
                subject(joined).into(),
                Some(awaited.subject()),
                payload.into(),
            )
            .is_ok()
    {
        // Who is not there any more does not answer; who came a moment ago may, and is welcome.
        let gather = gather(&mut awaited, others, &mut parts, &mut answered);
        let _ = timeout(joined.patience, gather).await;
    }
    let number = |nodes: usize| u32::try_from(nodes).unwrap_or(u32::MAX);
    let silent = number(others.saturating_sub(answered));
    Answer::of(parts, number(answered + 1), silent)
}

/// Takes in answers until so many nodes have said all.
async fn gather(awaited: &mut Awaited, nodes: usize, parts: &mut Vec<Part>, answered: &mut usize) {
    let mut names = 0;
    while *answered < nodes {
        let Reply::Answer(said) = awaited.next().await else {
            return;
        };
        let Ok(said) = serde_json::from_slice::<Said>(&said) else {
            continue;
        };
        *answered += usize::from(said.last);
        // What is over the bound is counted all the same.
        let room = (2 * MOST).saturating_sub(names);
        names += said.names.len();
        parts.push(Part {
            count: said.count,
            names: said.names.into_iter().take(room).collect(),
        });
    }
}

/// Answers what other nodes ask.
pub(super) async fn answer(joined: Arc<Joined>) {
    let Ok(mut questions) = joined.nats.client().subscribe(subject(&joined)).await else {
        return;
    };
    while let Some(message) = questions.next().await {
        let Some(reply) = message.reply else { continue };
        let Ok(asked) = serde_json::from_slice::<Asked>(&message.payload) else {
            continue;
        };
        let namespace = joined.namespace(asked.tenant.as_deref(), &asked.path);
        let part = namespace.map(|it| asked.question.answer(&it));
        for said in said(part.unwrap_or_default()) {
            if let Ok(payload) = serde_json::to_vec(&said) {
                // Who asked waits, and takes it for silence.
                let _ = joined.publish(reply.clone(), None, Bytes::from(payload));
            }
            yield_now().await;
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

fn subject(joined: &Joined) -> String {
    format!("{}.ask", joined.nats.prefix())
}
