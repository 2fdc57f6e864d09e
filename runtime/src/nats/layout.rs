//! What a bucket is to be, and the stream that it is then.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};

/// How long JetStream looks for messages that come twice, unless they do not live that long.
const DUPLICATES: Duration = Duration::from_secs(120);
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

impl Layout {
    pub(super) fn config(&self) -> Config {
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
