//! What JetStream answers, and what its refusals mean.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The header that says what a message is, when it is no value.
const OPERATION: &str = "KV-Operation";
/// What it says where a value was taken away.
const DELETED: &str = "DEL";
/// The header that JetStream writes where a value has expired, if it was told to.
const MARKER: &str = "Nats-Marker-Reason";

/// What a bucket holds under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    #[error("NATS has no JetStream")]
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

impl Failure {
    fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string())
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
            _ => Self::refused(error),
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<jetstream::Error>,
}

/// What is in an answer of JetStream.
pub(super) fn understand<T: DeserializeOwned>(answer: &Message) -> Result<T, Failure> {
    parse(answer)?.map_err(Failure::from)
}

fn parse<T: DeserializeOwned>(answer: &Message) -> Result<Result<T, jetstream::Error>, Failure> {
    // A refusal may have all that belongs into another answer as well.
    let refusal: Refusal = serde_json::from_slice(&answer.payload).map_err(Failure::refused)?;
    if let Some(error) = refusal.error {
        return Ok(Err(error));
    }
    let answer = serde_json::from_slice(&answer.payload);
    answer.map(Ok).map_err(Failure::refused)
}

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

/// What is in the answer to a question for the last message of a subject.
pub(super) fn entry(answer: &Message) -> Result<Entry, Failure> {
    match parse::<Found>(answer)? {
        Ok(found) => StreamMessage::try_from(found.message)
            .map(Entry::from)
            .map_err(Failure::refused),
        Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(Entry::default()),
        Err(error) => Err(error.into()),
    }
}

/// The same when it is that message itself.
pub(super) fn entry_itself(answer: Message) -> Result<Entry, Failure> {
    match answer.status {
        None => StreamMessage::try_from(answer)
            .map(Entry::from)
            .map_err(Failure::refused),
        Some(StatusCode::NOT_FOUND) => Ok(Entry::default()),
        Some(status) => Err(Failure::refused(status)),
    }
}

impl From<StreamMessage> for Entry {
    fn from(message: StreamMessage) -> Self {
        let headers = &message.headers;
        let is_value = headers.get(OPERATION).is_none() && headers.get(MARKER).is_none();
        Self {
            value: is_value.then_some(message.payload),
            revision: message.sequence,
        }
    }
}

/// The headers of a message that takes a value away.
pub(super) fn removal() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OPERATION, DELETED);
    headers
}

/// Whether what was published to the subject of a key takes the value away.
#[must_use]
pub fn is_removal(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.get(OPERATION).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Written {
        seq: u64,
    }

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

    fn refused(code: u32, text: &str) -> Message {
        let error = json!({ "code": 400, "err_code": code, "description": text });
        message(&json!({ "type": "x", "seq": 0, "error": error }).to_string())
    }

    #[test]
    fn what_jetstream_says_is_understood() {
        let written = understand::<Written>(&message(r#"{"stream":"KV_x","seq":7}"#));
        assert_eq!(written.unwrap().seq, 7);
        let failure = |code, text| understand::<Written>(&refused(code, text)).unwrap_err();
        assert_eq!(failure(10059, "stream not found"), Failure::Gone);
        assert_eq!(failure(10071, "wrong last sequence: 3"), Failure::Conflict);
        assert_eq!(failure(10164, "wrong last sequence"), Failure::Conflict);
        assert_eq!(failure(10077, "maximum bytes exceeded"), Failure::Full);
        assert_eq!(failure(10039, "not enabled"), Failure::NoJetStream);
        let other = failure(10077, "the disk is full").to_string();
        assert!(other.contains("the disk is full"), "{other}");
        for strange in ["", "{", "{}", "[]"] {
            assert!(understand::<Written>(&message(strange)).is_err());
        }
    }

    #[test]
    fn what_was_taken_away_is_not_there() {
        let found = |headers: &str| {
            let message = json!({ "subject": "x", "seq": 3, "data": "dg==", "hdrs": headers, "time": "2026-01-01T00:00:00Z" });
            entry(&self::message(&json!({ "message": message }).to_string())).unwrap()
        };
        let value = Some(Bytes::from("v"));
        assert_eq!(found("TkFUUy8xLjANCg0K"), Entry { value, revision: 3 });
        let gone = "TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==";
        assert_eq!(
            found(gone),
            Entry {
                value: None,
                revision: 3
            }
        );
        let nothing = entry(&refused(10037, "no message found"));
        assert_eq!(nothing, Ok(Entry::default()));
        assert_eq!(
            entry(&refused(10059, "stream not found")),
            Err(Failure::Gone)
        );
    }
}
