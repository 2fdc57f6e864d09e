//! A bucket of keys and values that JetStream keeps, a part of NATS: a stream with one message for each key.
//!
//! It is opened when it is needed, and again when it is gone. Each operation is bounded in time and tried once. What is read is
//! never older than what was written before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, Info};
use async_nats::{HeaderMap, HeaderValue, Message};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Nats;
use super::answers::{Entry, Failure, entry, entry_itself, removal, understand};
use super::layout::Layout;
use super::requests::Unanswered;
use super::silence::Silence;

/// For how long a failure to open answers those who come next.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The header of a write that counts only when nobody has written since.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// A bucket, which may not be open at the moment.
pub struct Bucket {
    nats: Nats,
    layout: Layout,
    patience: Duration,
    stream: String,
    /// What the subjects of its keys begin with.
    prefix: String,
    /// Whether it is open, and how it is read: one of the three below.
    open: AtomicU8,
    /// Held by the one that opens; the last failure to do so.
    opening: tokio::sync::Mutex<Option<(Instant, Failure)>>,
    silence: Mutex<Silence>,
}

const CLOSED: u8 = 0;
/// It is read by asking the server that all writes go through.
const OPEN: u8 = 1;
/// It is read from any server that has a copy, which takes half of the time. When there is only one, it is as new as what
/// was written.
const OPEN_DIRECTLY: u8 = 2;

/// What is known of all of a bucket.
#[derive(Debug, Deserialize)]
pub struct Contents {
    /// The bytes of all entries, with what JetStream needs for them.
    pub bytes: u64,
    /// The newest revision; zero when nothing was ever written.
    #[serde(rename = "last_seq")]
    pub revision: u64,
    /// How many keys there are.
    #[serde(rename = "num_subjects", default)]
    pub keys: u64,
    #[serde(default)]
    subjects: HashMap<String, u64>,
}

#[derive(Deserialize)]
struct Page {
    state: Contents,
    /// How many keys there are on all pages.
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct Written {
    seq: u64,
}

/// What is in the answer when something was done, which is not looked at.
#[derive(Deserialize)]
struct Done {}

impl Bucket {
    /// The bucket of that layout, with operations that wait for so long at most. Asks for nothing.
    #[must_use]
    pub fn new(nats: &Nats, layout: Layout, patience: Duration) -> Self {
        Self {
            nats: nats.clone(),
            patience,
            stream: format!("KV_{}", layout.name),
            prefix: format!("$KV.{}.", layout.name),
            layout,
            open: AtomicU8::new(CLOSED),
            opening: tokio::sync::Mutex::default(),
            silence: Mutex::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// Opens it, unless it is open. It is made when there is none; one that is there becomes what it is to be, as far as
    /// that is possible.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn ready(&self) -> Result<(), Failure> {
        if self.open.load(Ordering::Acquire) != CLOSED {
            return Ok(());
        }
        let mut failed = self.opening.lock().await;
        if self.open.load(Ordering::Acquire) != CLOSED {
            return Ok(());
        }
        if let Some((at, failure)) = &*failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(failure.clone());
        }
        match self.open().await {
            Ok(config) => {
                *failed = None;
                let is_direct = config.allow_direct && config.num_replicas == 1;
                let open = if is_direct { OPEN_DIRECTLY } else { OPEN };
                self.open.store(open, Ordering::Release);
                Ok(())
            }
            Err(failure) => {
                *failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Returns what it is then.
    async fn open(&self) -> Result<Config, Failure> {
        let wanted = self.layout.config();
        let info: Info = match self.api("STREAM.INFO", &json!({})).await {
            Err(Failure::Gone) => {
                self.api::<Done>("STREAM.CREATE", &wanted).await?;
                return Ok(wanted);
            }
            info => info?,
        };
        let is = info.config;
        let config = Config {
            max_bytes: wanted.max_bytes,
            max_message_size: wanted.max_message_size,
            max_age: wanted.max_age,
            duplicate_window: wanted.duplicate_window,
            num_replicas: wanted.num_replicas,
            allow_direct: wanted.allow_direct,
            ..is.clone()
        };
        if config == is {
            return Ok(is);
        }
        match self.api::<Done>("STREAM.UPDATE", &config).await {
            Ok(_) => {
                tracing::info!(
                    "the bucket {} of NATS is as it is configured now",
                    self.name()
                );
                Ok(config)
            }
            Err(error) => {
                tracing::warn!(
                    "the bucket {} of NATS stays as it was: {error}",
                    self.name()
                );
                Ok(is)
            }
        }
    }

    /// The subject of a key, to which all that is written under it is published.
    #[must_use]
    pub fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What is there under a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn read(&self, key: &str) -> Result<Entry, Failure> {
        self.ready().await?;
        let subject = self.subject(key);
        match self.open.load(Ordering::Acquire) == OPEN_DIRECTLY {
            true => {
                let subject = format!("$JS.API.DIRECT.GET.{}.{subject}", self.stream);
                entry_itself(self.ask(subject, None, Bytes::new()).await?)
            }
            false => {
                let last = json!({ "last_by_subj": subject });
                let answer = self.call("STREAM.MSG.GET", &last).await?;
                entry(&answer).inspect_err(|failure| self.close_if_gone(failure))
            }
        }
    }

    /// Gives a key a value; where a revision is named, only if nobody has written since. Returns the new revision.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn write(
        &self,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
    ) -> Result<u64, Failure> {
        let headers = expected.map(|revision| {
            let mut headers = HeaderMap::new();
            headers.insert(EXPECTED, HeaderValue::from(revision));
            headers
        });
        self.publish(key, headers, value).await
    }

    /// Takes a value away, if nobody has written since that revision. Who listens to the subject hears it as well; see
    /// [`super::is_removal`].
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn give_up(&self, key: &str, revision: u64) -> Result<(), Failure> {
        let mut headers = removal();
        headers.insert(EXPECTED, HeaderValue::from(revision));
        self.publish(key, Some(headers), Bytes::new()).await?;
        Ok(())
    }

    /// Takes a value away, if there is one. Nothing stays behind that would take room.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        self.ready().await?;
        let filter = json!({ "filter": self.subject(key) });
        self.api::<Done>("STREAM.PURGE", &filter).await?;
        Ok(())
    }

    /// What is known of all of the bucket.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn contents(&self) -> Result<Contents, Failure> {
        self.ready().await?;
        let page: Page = self.api("STREAM.INFO", &json!({})).await?;
        Ok(page.state)
    }

    /// The keys that match a pattern, in no particular order, and what is known of all of the bucket.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn keys(&self, pattern: &str) -> Result<(Vec<String>, Contents), Failure> {
        self.ready().await?;
        let pattern = self.subject(pattern);
        let mut keys = Vec::new();
        loop {
            let asked = json!({ "subjects_filter": pattern, "offset": keys.len() });
            let mut page: Page = self.api("STREAM.INFO", &asked).await?;
            let subjects = std::mem::take(&mut page.state.subjects);
            let is_last = subjects.is_empty();
            let names = subjects.into_keys().filter_map(|mut subject| {
                subject
                    .starts_with(&self.prefix)
                    .then(|| subject.split_off(self.prefix.len()))
            });
            keys.extend(names);
            if is_last || keys.len() >= page.total {
                return Ok((keys, page.state));
            }
        }
    }

    async fn publish(
        &self,
        key: &str,
        headers: Option<HeaderMap>,
        value: Bytes,
    ) -> Result<u64, Failure> {
        self.ready().await?;
        let answer = self.ask(self.subject(key), headers, value).await?;
        let written: Written = understand(&answer)?;
        Ok(written.seq)
    }

    /// Asks JetStream to do something with the stream.
    async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        with: &impl Serialize,
    ) -> Result<T, Failure> {
        understand(&self.call(what, with).await?).inspect_err(|failure| self.close_if_gone(failure))
    }

    async fn call(&self, what: &str, with: &impl Serialize) -> Result<Message, Failure> {
        let subject = format!("$JS.API.{what}.{}", self.stream);
        let body = serde_json::to_vec(with).map_err(|error| Failure::Refused(error.to_string()))?;
        let answer = self.ask(subject, None, body.into()).await;
        answer.map_err(|error| match error {
            // Whatever becomes of a bucket, JetStream answers.
            Failure::Gone => Failure::NoJetStream,
            error => error,
        })
    }

    async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        if !self.silence().may_ask(Instant::now(), self.patience) {
            return Err(Failure::Silent(self.patience));
        }
        let asked = self.nats.ask(subject, headers, payload, self.patience);
        let answer = asked.await.map_err(|error| match error {
            Unanswered::CutOff => Failure::CutOff,
            Unanswered::Silent => Failure::Silent(self.patience),
            Unanswered::Nobody => Failure::Gone,
        });
        match &answer {
            Err(Failure::Silent(_)) => self.silence().go_on(Instant::now()),
            Ok(_) => self.silence().end(),
            Err(failure) => {
                self.silence().end();
                self.close_if_gone(failure);
            }
        }
        answer
    }

    /// What is gone is opened by the next operation.
    fn close_if_gone(&self, failure: &Failure) {
        if *failure == Failure::Gone {
            self.open.store(CLOSED, Ordering::Release);
        }
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether JetStream is there for this account.
pub(super) async fn has_jetstream(nats: &Nats, patience: Duration) -> Result<(), Failure> {
    let asked = nats.ask("$JS.API.INFO".into(), None, Bytes::new(), patience);
    match asked.await {
        Ok(answer) => understand::<Done>(&answer).map(drop),
        Err(Unanswered::Nobody) => Err(Failure::NoJetStream),
        Err(Unanswered::CutOff) => Err(Failure::CutOff),
        Err(Unanswered::Silent) => Err(Failure::Silent(patience)),
    }
}
