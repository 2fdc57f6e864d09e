//! A store in a bucket of JetStream, which all nodes share.
//!
//! Nothing is cached: each operation is a question to the server that all writes of the bucket go through. What takes a value away
//! leaves nothing behind in the bucket. Numbers are added to by writing only if nobody has written since.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use super::change::{Change, EntryKey, number};
use super::listing::{key_of, list, shard};
use super::{Limits, StoreError};
use crate::config::Backplane;
use crate::nats::{Bucket, Failure, Layout, Link, Nats};

/// How many keys of one call are under way at once.
const AT_ONCE: usize = 32;
/// How many numbers of a tenant this node adds to at once; those that wait for the same one do not get in each other's way.
const TURNS: usize = 64;
/// What a value has around it in a message: headers.
const HEADERS: usize = 1 << 10;
/// How long is waited after another node was faster, times a number that is different for each.
const BACK_OFF: Duration = Duration::from_micros(200);

/// The stores in JetStream.
#[derive(Clone)]
pub(super) struct Jetstream {
    nats: Nats,
    limits: Limits,
    patience: Duration,
    replicas: u32,
}

/// What a tenant keeps there.
pub(super) struct JetstreamStore {
    nats: Nats,
    limits: Limits,
    patience: Duration,
    bucket: Bucket,
    /// Held by who adds to a number.
    turns: [tokio::sync::Mutex<()>; TURNS],
    /// Held by who lists keys: that costs JetStream the most.
    listing: tokio::sync::Mutex<()>,
    /// Why it does not work; none when it does.
    fault: Mutex<Option<StoreError>>,
}

impl Jetstream {
    pub(super) fn new(nats: &Nats, config: &Backplane, limits: Limits) -> Self {
        Self {
            nats: nats.clone(),
            limits,
            patience: config.request(),
            replicas: config.replicas,
        }
    }

    /// Tells the log when there is no JetStream, as soon as there is a connection.
    pub(super) fn tell_when_missing(&self) {
        let (nats, patience) = (self.nats.clone(), self.patience);
        tokio::spawn(async move {
            let mut link = nats.link();
            if link.wait_for(|link| *link == Link::Up).await.is_err() {
                return;
            }
            if nats.has_jetstream(patience).await == Err(Failure::NoJetStream) {
                tracing::error!(
                    "backplane.store is \"jetstream\", but NATS has no JetStream: what plugins keep cannot be read or \
                     written until it is enabled there"
                );
            }
        });
    }
}

impl std::fmt::Debug for Jetstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jetstream").finish_non_exhaustive()
    }
}

impl JetstreamStore {
    pub(super) fn new(jetstream: &Jetstream, tenant: Option<&str>) -> Self {
        let Jetstream {
            nats,
            limits,
            patience,
            replicas,
        } = jetstream.clone();
        // So that there is room to replace the largest value when all else is full.
        let spare = (limits.value_bytes + HEADERS) as u64;
        let layout = Layout {
            name: nats.bucket_name("store", tenant),
            in_memory: false,
            max_age: Duration::ZERO,
            max_bytes: Some(limits.tenant_bytes.saturating_add(spare)),
            max_value: Some(limits.value_bytes + HEADERS),
            replicas,
        };
        Self {
            bucket: Bucket::new(&nats, layout, patience),
            nats,
            limits,
            patience,
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            listing: tokio::sync::Mutex::default(),
            fault: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.bucket.name()
    }

    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        match self.bucket.ready().await {
            // That it is open does not say that it works.
            Ok(()) => Ok(()),
            failed => self.note(failed),
        }
    }

    pub(super) async fn get(&self, key: &EntryKey) -> Result<Option<Vec<u8>>, StoreError> {
        let entry = self.note(self.bucket.read(&key_of(key)).await)?;
        Ok(entry.value.map(Vec::from))
    }

    pub(super) async fn get_many(
        &self,
        keys: Vec<EntryKey>,
        limit: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        let reads = keys
            .into_iter()
            .map(|key| async move { self.get(&key).await });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let mut bytes = 0;
        while let Some(value) = reads.try_next().await? {
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > limit {
                return Err(StoreError::BatchTooLarge { limit });
            }
            values.push(value);
        }
        Ok(values)
    }

    pub(super) async fn keys(
        &self,
        bucket: &str,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let _turn = self.listing.lock().await;
        self.note(list(&self.bucket, bucket, cursor).await)
    }

    pub(super) async fn bytes(&self) -> Result<u64, StoreError> {
        Ok(self.note(self.bucket.contents().await)?.bytes)
    }

    /// Makes a change. Returns the number that an increment has led to, and zero for the others.
    pub(super) async fn write(&self, change: Change) -> Result<u64, StoreError> {
        match change {
            Change::Set(entries) => {
                let costs = entries.iter().map(|(key, value)| key.cost(value.len()));
                self.check_alone(costs.sum())?;
                let most = self.nats.client().max_payload().saturating_sub(HEADERS);
                if entries.values().any(|value| value.len() > most) {
                    return Err(StoreError::OverPayload { limit: most });
                }
                let sets = entries.into_iter().map(|(key, value)| async move {
                    let written = self.bucket.write(&key_of(&key), value.into(), None).await;
                    self.note(written).map(drop)
                });
                all(sets).await?;
                Ok(0)
            }
            Change::Delete(keys) => {
                let removals = keys
                    .into_iter()
                    .map(|key| async move { self.note(self.bucket.remove(&key_of(&key)).await) });
                all(removals).await?;
                Ok(0)
            }
            Change::Increment(key, delta) => self.increment(&key, delta).await,
        }
    }

    async fn increment(&self, key: &EntryKey, delta: u64) -> Result<u64, StoreError> {
        let turn = usize::from(shard(key.names().1)) % TURNS;
        let _turn = self.turns[turn].lock().await;
        self.check_alone(key.cost(1))?;
        let key = key_of(key);
        let begun = Instant::now();
        let mut pause = BACK_OFF;
        loop {
            let entry = self.note(self.bucket.read(&key).await)?;
            let old = match &entry.value {
                Some(value) => number(value).ok_or(StoreError::NotANumber)?,
                None => 0,
            };
            let new = old.checked_add(delta).ok_or(StoreError::Overflow)?;
            let text = Bytes::from(new.to_string());
            match self.bucket.write(&key, text, Some(entry.revision)).await {
                Err(Failure::Conflict) if begun.elapsed() < self.patience => {
                    // A number that other nodes do not have.
                    let part = new.wrapping_mul(u64::from(std::process::id())) % 8;
                    sleep(pause * (1 + part as u32)).await;
                    pause = (pause * 2).min(BACK_OFF * 32);
                }
                written => return self.note(written).map(|_| new),
            }
        }
    }

    /// Checks what would not fit if it were alone.
    fn check_alone(&self, cost: u64) -> Result<(), StoreError> {
        let limit = self.limits.tenant_bytes;
        if cost > limit {
            return Err(StoreError::Full { limit });
        }
        Ok(())
    }

    /// Says what an outcome means, and tells the log when the store stops working and when it works again.
    fn note<T>(&self, outcome: Result<T, Failure>) -> Result<T, StoreError> {
        let failure = match outcome {
            Ok(done) => {
                let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
                if fault.take().is_some() {
                    tracing::info!("the store {} in NATS works again", self.name());
                }
                return Ok(done);
            }
            Err(failure) => failure,
        };
        if failure == Failure::Full {
            let limit = self.limits.tenant_bytes;
            return Err(StoreError::Full { limit });
        }
        let error = StoreError::Nats {
            bucket: self.name().into(),
            reason: failure.to_string().into(),
        };
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        // Once, and not at every try.
        if fault.as_ref() != Some(&error) {
            tracing::error!("{error}");
        }
        *fault = Some(error.clone());
        Err(error)
    }
}

/// Does all of them, some at once, until one fails.
async fn all<F: Future<Output = Result<(), StoreError>>>(
    tasks: impl Iterator<Item = F>,
) -> Result<(), StoreError> {
    stream::iter(tasks)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
