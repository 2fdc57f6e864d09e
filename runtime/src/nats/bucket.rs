//! A bucket of keys and values that JetStream keeps, a part of NATS: a stream with one message for each key.
//!
//! Each operation is bounded in time and tried once. What is read is never older than what was written before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RawMessage, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Nats;
use super::requests::{Requests, Unanswered};

/// How long JetStream looks for messages that come twice, unless they do not live that long.
const DUPLICATES: Duration = Duration::from_secs(120);
/// The header that says what a message is, when it is no value.
const OPERATION: &str = "KV-Operation";
/// What it says where a value was taken away.
const DELETED: &str = "DEL";
/// The header that JetStream writes where a value has expired, if it was told to.
const MARKER: &str = "Nats-Marker-Reason";
/// The header of a write that counts only when nobody has written since.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// What a bucket is to be.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Its name.
    pub name: String,
    /// Whether it is kept in memory alone.
    pub in_memory: bool,
    /// After how long an entry expires; zero: never.
    pub max_age: Duration,
    /// The most bytes of all entries, with what JetStream needs for them; none: any.
    pub max_bytes: Option<u64>,
    /// The most bytes of one value; none: any.
    pub max_value: Option<usize>,
    /// How many servers keep a copy.
    pub replicas: u32,
}

/// A bucket. It is there when it was opened; whether it still is, operations tell.
pub struct Bucket {
    requests: Arc<Requests>,
    patience: Duration,
    stream: String,
    /// What the subjects of its keys begin with.
    prefix: String,
    /// Whether it can be read without the detour over the interface of JetStream. Only one copy is sure to be as new as what was
    /// written.
    direct: bool,
}

/// What a bucket holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value; none when there is none.
    pub value: Option<Bytes>,
    /// What to name to write only if nobody has written since; zero when nothing is known of the key.
    pub revision: u64,
}

/// Why an operation has failed. When it is [`Failure::Silent`] or [`Failure::CutOff`], a write may have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection.
    #[error("there is no connection to NATS")]
    CutOff,
    /// Nothing has come in time.
    #[error("NATS has not answered within {} ms (backplane.request-ms)", .0.as_millis())]
    Silent(Duration),
    /// There is no JetStream, or not for this account.
    #[error("NATS has no JetStream; enable it there")]
    NoJetStream,
    /// The bucket is not there any more; it can be opened again.
    #[error("the bucket is gone")]
    Gone,
    /// Somebody has written since.
    #[error("somebody else has written meanwhile")]
    Conflict,
    /// There is no room.
    #[error("the bucket is full")]
    Full,
    /// Anything else that NATS does not do.
    #[error("NATS refuses: {0}")]
    Refused(String),
}

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

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

#[derive(Deserialize)]
struct Removed {}

impl Layout {
    /// The subject of a key, to which all that is written under it is published.
    #[must_use]
    pub fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }

    fn config(&self) -> Config {
        let max_bytes = self.max_bytes.and_then(|it| i64::try_from(it).ok());
        let max_value = self.max_value.and_then(|it| i32::try_from(it).ok());
        Config {
            name: format!("KV_{}", self.name),
            subjects: vec![format!("$KV.{}.>", self.name)],
            max_messages_per_subject: 1,
            max_bytes: max_bytes.unwrap_or(-1),
            max_message_size: max_value.unwrap_or(-1),
            max_age: self.max_age,
            duplicate_window: match self.max_age {
                Duration::ZERO => DUPLICATES,
                age => age.min(DUPLICATES),
            },
            storage: match self.in_memory {
                true => StorageType::Memory,
                false => StorageType::File,
            },
            num_replicas: self.replicas as usize,
            discard: DiscardPolicy::New,
            allow_direct: self.replicas == 1,
            allow_rollup: true,
            deny_delete: true,
            ..Config::default()
        }
    }
}

impl Bucket {
    /// Opens a bucket, which is made when there is none. One that is there becomes what it is to be, as far as that is possible.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn open(nats: &Nats, layout: &Layout, patience: Duration) -> Result<Self, Failure> {
        let wanted = layout.config();
        let bucket = Self {
            requests: nats.requests.clone(),
            patience,
            stream: wanted.name.clone(),
            prefix: layout.subject(""),
            direct: wanted.allow_direct,
        };
        let info: Info = match bucket.api("STREAM.INFO", &json!({})).await {
            Err(Failure::Gone) => return bucket.create(&wanted).await,
            info => info?,
        };
        let mut config = info.config;
        let is_wanted = |config: &Config| {
            config.max_bytes == wanted.max_bytes
                && config.max_message_size == wanted.max_message_size
                && config.max_age == wanted.max_age
                && config.num_replicas == wanted.num_replicas
                && config.allow_direct == wanted.allow_direct
        };
        if is_wanted(&config) {
            return Ok(bucket);
        }
        let direct = config.allow_direct && config.num_replicas == 1;
        config.max_bytes = wanted.max_bytes;
        config.max_message_size = wanted.max_message_size;
        config.max_age = wanted.max_age;
        config.duplicate_window = wanted.duplicate_window;
        config.num_replicas = wanted.num_replicas;
        config.allow_direct = wanted.allow_direct;
        match bucket.api::<Value>("STREAM.UPDATE", &config).await {
            Ok(_) => tracing::info!("the bucket {} of NATS has other limits now", layout.name),
            Err(error) => {
                tracing::warn!("the bucket {} stays as it was: {error}", layout.name);
                return Ok(Self { direct, ..bucket });
            }
        }
        Ok(bucket)
    }

    async fn create(self, config: &Config) -> Result<Self, Failure> {
        self.api::<Value>("STREAM.CREATE", config).await?;
        Ok(self)
    }

    fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What is there under a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn read(&self, key: &str) -> Result<Entry, Failure> {
        let subject = self.subject(key);
        let message = match self.direct {
            true => {
                let subject = format!("$JS.API.DIRECT.GET.{}.{subject}", self.stream);
                read_directly(self.ask(subject, None, Bytes::new()).await?)?
            }
            false => {
                let last = json!({ "last_by_subj": subject });
                let answer = self.call("STREAM.MSG.GET", &last).await?;
                read_from_answer(&answer)?
            }
        };
        Ok(match message {
            None => Entry {
                value: None,
                revision: 0,
            },
            Some(message) => {
                let headers = &message.headers;
                let is_value = headers.get(OPERATION).is_none() && headers.get(MARKER).is_none();
                Entry {
                    value: is_value.then_some(message.payload),
                    revision: message.sequence,
                }
            }
        })
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
    /// [`is_removal`].
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn give_up(&self, key: &str, revision: u64) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, DELETED);
        headers.insert(EXPECTED, HeaderValue::from(revision));
        self.publish(key, Some(headers), Bytes::new()).await?;
        Ok(())
    }

    /// Takes a value away, if there is one. Nothing stays behind that would take room.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        let filter = json!({ "filter": self.subject(key) });
        self.api::<Removed>("STREAM.PURGE", &filter).await?;
        Ok(())
    }

    /// What is known of all of the bucket.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn state(&self) -> Result<Contents, Failure> {
        let page: Page = self.api("STREAM.INFO", &json!({})).await?;
        Ok(page.state)
    }

    /// The keys that match a pattern, in no particular order, and what is known of all of the bucket.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn keys(&self, pattern: &str) -> Result<(Vec<String>, Contents), Failure> {
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
        understand(&self.call(what, with).await?)
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
        let asked = self.requests.ask(subject, headers, payload, self.patience);
        asked.await.map_err(|error| match error {
            Unanswered::CutOff => Failure::CutOff,
            Unanswered::Silent => Failure::Silent(self.patience),
            Unanswered::Nobody => Failure::Gone,
        })
    }
}

/// Whether what was published to the subject of a key takes the value away.
#[must_use]
pub fn is_removal(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get(OPERATION).is_some())
}

fn read_directly(answer: Message) -> Result<Option<StreamMessage>, Failure> {
    match answer.status {
        None => {}
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(status) => return Err(Failure::Refused(status.to_string())),
    }
    let message = StreamMessage::try_from(answer);
    message
        .map(Some)
        .map_err(|error| Failure::Refused(error.to_string()))
}

fn read_from_answer(answer: &Message) -> Result<Option<StreamMessage>, Failure> {
    match parse::<Found>(answer)? {
        Ok(found) => StreamMessage::try_from(found.message)
            .map(Some)
            .map_err(|error| Failure::Refused(error.to_string())),
        Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn understand<T: DeserializeOwned>(answer: &Message) -> Result<T, Failure> {
    Ok(parse(answer)??)
}

fn parse<T: DeserializeOwned>(answer: &Message) -> Result<Result<T, jetstream::Error>, Failure> {
    match serde_json::from_slice(&answer.payload) {
        Ok(Response::Ok(answer)) => Ok(Ok(answer)),
        Ok(Response::Err { error }) => Ok(Err(error)),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

impl From<jetstream::Error> for Failure {
    fn from(error: jetstream::Error) -> Self {
        match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND => Self::Gone,
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Self::NoJetStream
            }
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => Self::Conflict,
            ErrorCode::STREAM_STORE_FAILED if error.to_string().contains("maximum bytes") => {
                Self::Full
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message {
            subject: "x".into(),
            reply: None,
            payload: Bytes::from(payload.to_owned()),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn what_jetstream_says_is_understood() {
        let refusal = |code: u32, text: &str| {
            let error = json!({ "code": 400, "err_code": code, "description": text });
            let answer = message(&json!({ "type": "x", "error": error }).to_string());
            understand::<Written>(&answer).err()
        };
        let written = understand::<Written>(&message(r#"{"stream":"KV_x","seq":7}"#));
        assert_eq!(written.map(|it| it.seq).ok(), Some(7));
        assert_eq!(refusal(10059, "stream not found"), Some(Failure::Gone));
        assert_eq!(
            refusal(10071, "wrong last sequence: 3"),
            Some(Failure::Conflict)
        );
        assert_eq!(
            refusal(10164, "wrong last sequence"),
            Some(Failure::Conflict)
        );
        assert_eq!(
            refusal(10077, "maximum bytes exceeded"),
            Some(Failure::Full)
        );
        assert_eq!(
            refusal(10039, "not for this account"),
            Some(Failure::NoJetStream)
        );
        let other = refusal(10077, "the disk is full").expect("it is refused");
        assert!(other.to_string().contains("the disk is full"), "{other}");
        assert!(understand::<Written>(&message("{")).is_err());
    }
}
