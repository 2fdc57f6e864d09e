//! One tenant's store: its operations, whatever keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::change::{Change, EntryKey};
use super::jetstream::JetstreamStore;
use super::local::LocalStore;
#[cfg(test)]
use super::queue::Queue;
use super::{Limits, MAX_BATCH_BYTES, MAX_KEYS, StoreError};

/// One tenant's buckets.
///
/// All operations are safe to drop while they wait. A write that is dropped may happen or not; in a file it does once it
/// is in the queue.
pub struct Store {
    limits: Limits,
    backend: Backend,
}

/// What keeps a store. Names and sizes have been checked when it is called.
enum Backend {
    Local(LocalStore),
    Jetstream(Box<JetstreamStore>),
}

impl Store {
    pub(super) fn in_file(file: &Path, limits: Limits) -> Self {
        Self {
            limits,
            backend: Backend::Local(LocalStore::new(file, limits)),
        }
    }

    pub(super) fn in_jetstream(store: JetstreamStore, limits: Limits) -> Self {
        Self {
            limits,
            backend: Backend::Jetstream(Box::new(store)),
        }
    }

    /// Opens it, unless it is open.
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Local(store) => store.ready().await,
            Backend::Jetstream(store) => store.ready().await,
        }
    }

    /// Checks the name of a bucket.
    ///
    /// # Errors
    /// It is not 1 to [`super::MAX_BUCKET`] bytes without control characters.
    pub fn check_bucket(bucket: &str) -> Result<(), StoreError> {
        EntryKey::prefix(bucket).map(|_| ())
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// Names that are not valid, and faults.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = EntryKey::new(bucket, key)?;
        match &self.backend {
            Backend::Local(store) => store.get(&key).await,
            Backend::Jetstream(store) => store.get(&key).await,
        }
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError> {
        let key = EntryKey::new(bucket, key)?;
        match &self.backend {
            Backend::Local(store) => store.exists(&key).await,
            Backend::Jetstream(store) => Ok(store.get(&key).await?.is_some()),
        }
    }

    /// The values of keys, in their order.
    ///
    /// # Errors
    /// As [`Store::get`]; over [`MAX_KEYS`] keys, or over [`MAX_BATCH_BYTES`] of values.
    pub async fn get_many(
        &self,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys = entry_keys(bucket, keys)?;
        let limit = self.batch_bytes();
        match &self.backend {
            Backend::Local(store) => store.get_many(keys, limit).await,
            Backend::Jetstream(store) => store.get_many(keys, limit).await,
        }
    }

    /// A page of a bucket's keys, and the cursor for the next page when there is one.
    ///
    /// In a file a page has [`MAX_KEYS`] at most, in the order of their bytes. The store remembers the key that ended each
    /// of the last 256 pages. A cursor of one of these goes on right after
    /// that key: a key that is there all the time comes exactly once, whatever is set and deleted meanwhile, also when
    /// another instance of the plugin goes on. An older cursor, or one from before a restart, counts from the
    /// beginning instead: then, as many keys as were deleted before the place are left out, and as many as were added
    /// there come a second time.
    ///
    /// In JetStream they are in no particular order, and a cursor means the same on each node and for ever; see
    /// `store/listing.rs`.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn keys(
        &self,
        bucket: &str,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), StoreError> {
        Self::check_bucket(bucket)?;
        match &self.backend {
            Backend::Local(store) => store.keys(bucket, cursor).await,
            Backend::Jetstream(store) => store.keys(bucket, cursor).await,
        }
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// As [`Store::get`]; a value that is too large; the tenant would keep too much.
    pub async fn set(&self, bucket: &str, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        let key = EntryKey::new(bucket, key)?;
        self.check_value(&value)?;
        let change = Change::Set(BTreeMap::from([(key, value)]));
        self.write(change).await.map(drop)
    }

    /// Gives keys values: in a file all of them or none, in JetStream those before something fails. Of a key that comes
    /// twice, the last value counts.
    ///
    /// # Errors
    /// As [`Store::set`]; over [`MAX_KEYS`] keys, or over [`MAX_BATCH_BYTES`] of values.
    pub async fn set_many(
        &self,
        bucket: &str,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        if entries.len() > MAX_KEYS {
            return Err(StoreError::TooMany);
        }
        let limit = self.batch_bytes();
        if entries.iter().map(|(_, value)| value.len()).sum::<usize>() > limit {
            return Err(StoreError::BatchTooLarge { limit });
        }
        Self::check_bucket(bucket)?;
        let mut checked = BTreeMap::new();
        for (key, value) in entries {
            self.check_value(&value)?;
            checked.insert(EntryKey::new(bucket, &key)?, value);
        }
        self.write(Change::Set(checked)).await.map(drop)
    }

    /// Takes a key's value away, if it has one.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        let keys = BTreeSet::from([EntryKey::new(bucket, key)?]);
        self.write(Change::Delete(keys)).await.map(drop)
    }

    /// Takes the values of keys away: in a file all at once.
    ///
    /// # Errors
    /// As [`Store::get`]; over [`MAX_KEYS`] keys.
    pub async fn delete_many(&self, bucket: &str, keys: &[String]) -> Result<(), StoreError> {
        let keys = entry_keys(bucket, keys)?.into_iter().collect();
        self.write(Change::Delete(keys)).await.map(drop)
    }

    /// Adds to a number and returns the sum. The number is kept as text in decimal digits; a key without a value counts
    /// as 0.
    ///
    /// # Errors
    /// As [`Store::set`]; a value that is not such a text; a sum over the largest number.
    pub async fn increment(&self, bucket: &str, key: &str, delta: u64) -> Result<u64, StoreError> {
        let key = EntryKey::new(bucket, key)?;
        self.write(Change::Increment(key, delta)).await
    }

    /// What the tenant keeps, in bytes: in a file as [`Limits::tenant_bytes`] counts it, in JetStream as that does.
    ///
    /// # Errors
    /// Faults.
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Local(store) => store.bytes().await,
            Backend::Jetstream(store) => store.bytes().await,
        }
    }

    async fn write(&self, change: Change) -> Result<u64, StoreError> {
        match &self.backend {
            Backend::Local(store) => store.queue.write(change).await,
            Backend::Jetstream(store) => store.write(change).await,
        }
    }

    #[cfg(test)]
    pub(super) fn queue(&self) -> &Queue {
        match &self.backend {
            Backend::Local(store) => &store.queue,
            Backend::Jetstream(_) => panic!("it has none"),
        }
    }

    fn batch_bytes(&self) -> usize {
        self.limits.value_bytes.max(MAX_BATCH_BYTES)
    }

    fn check_value(&self, value: &[u8]) -> Result<(), StoreError> {
        let limit = self.limits.value_bytes;
        if value.len() > limit {
            return Err(StoreError::ValueTooLarge { limit });
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.backend {
            Backend::Local(store) => store.file().display().to_string(),
            Backend::Jetstream(store) => store.name().to_owned(),
        };
        f.debug_tuple("Store").field(&place).finish()
    }
}

fn entry_keys(bucket: &str, keys: &[String]) -> Result<Vec<EntryKey>, StoreError> {
    if keys.len() > MAX_KEYS {
        return Err(StoreError::TooMany);
    }
    Store::check_bucket(bucket)?;
    keys.iter().map(|key| EntryKey::new(bucket, key)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::LIMITS;
    use super::super::{ENTRY_BYTES, Stores};
    use super::*;
    use std::sync::Arc;

    async fn store(folder: &Path, limits: Limits) -> Arc<Store> {
        Stores::in_folder(folder, limits).of(None).await.unwrap()
    }

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|i| format!("k{i:05}")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_set_is_there_until_it_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let s = store(folder.path(), LIMITS).await;
        assert_eq!(s.get("b", "k").await.unwrap(), None);
        assert!(!s.exists("b", "k").await.unwrap());
        s.set("b", "k", b"one".to_vec()).await.unwrap();
        s.set("b", "k", b"two".to_vec()).await.unwrap();
        s.set("b", "empty", Vec::new()).await.unwrap();
        s.set("c", "k", b"other".to_vec()).await.unwrap();
        assert_eq!(s.get("b", "k").await.unwrap(), Some(b"two".to_vec()));
        assert_eq!(s.get("b", "empty").await.unwrap(), Some(Vec::new()));
        assert!(s.exists("b", "empty").await.unwrap());
        let keys = ["k", "no", "empty", "k"].map(str::to_owned);
        let two = Some(b"two".to_vec());
        assert_eq!(
            s.get_many("b", &keys).await.unwrap(),
            [two.clone(), None, Some(Vec::new()), two]
        );
        s.delete("b", "k").await.unwrap();
        s.delete("b", "k").await.unwrap();
        assert_eq!(s.get("b", "k").await.unwrap(), None);
        assert_eq!(s.get("c", "k").await.unwrap(), Some(b"other".to_vec()));
        s.delete_many("b", &keys).await.unwrap();
        assert_eq!(s.keys("b", None).await.unwrap(), (Vec::new(), None));
        drop(s);
        let s = store(folder.path(), LIMITS).await;
        assert_eq!(s.get("c", "k").await.unwrap(), Some(b"other".to_vec()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_limit_holds_at_the_limit_and_one_past() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            tenant_bytes: 1000,
            value_bytes: 900,
        };
        let s = store(folder.path(), limits).await;
        s.set("b", "k", vec![0; 900]).await.unwrap();
        let refused = s.set("b", "k", vec![0; 901]).await;
        assert_eq!(refused, Err(StoreError::ValueTooLarge { limit: 900 }));
        // 965 are taken; an entry takes at least 65.
        let full = Err(StoreError::Full { limit: 1000 });
        assert_eq!(s.set("b", "l", Vec::new()).await, full);
        let free = 1000 - 2 * (ENTRY_BYTES as usize + 1);
        s.set("b", "k", vec![0; free]).await.unwrap();
        assert_eq!(s.set("b", "l", vec![0; 1]).await, full);
        s.set("b", "l", Vec::new()).await.unwrap();
        assert_eq!(s.bytes().await.unwrap(), 1000);
        assert_eq!(
            s.increment("b", "n", 1).await,
            Err(StoreError::Full { limit: 1000 })
        );
        // All or nothing, and an entry makes room for another.
        let two = |k: usize, l: usize| vec![("k".into(), vec![1; k]), ("l".into(), vec![1; l])];
        assert_eq!(s.set_many("b", two(free, 1)).await, full);
        assert_eq!(s.get("b", "k").await.unwrap(), Some(vec![0; free]));
        s.set_many("b", two(0, free)).await.unwrap();

        let many = |count: usize| names(0..count);
        assert!(s.get_many("b", &many(MAX_KEYS)).await.is_ok());
        assert_eq!(
            s.get_many("b", &many(MAX_KEYS + 1)).await,
            Err(StoreError::TooMany)
        );
        s.delete_many("b", &many(MAX_KEYS)).await.unwrap();
        let refused = s.delete_many("b", &many(MAX_KEYS + 1)).await;
        assert_eq!(refused, Err(StoreError::TooMany));
        let entries = |count| many(count).into_iter().map(|key| (key, Vec::new()));
        assert_eq!(s.set_many("b", entries(MAX_KEYS).collect()).await, full);
        let refused = s.set_many("b", entries(MAX_KEYS + 1).collect()).await;
        assert_eq!(refused, Err(StoreError::TooMany));

        // A lower limit takes nothing away, and lets what is there shrink.
        drop(s);
        let tenant_bytes = 500;
        let s = store(
            folder.path(),
            Limits {
                tenant_bytes,
                ..limits
            },
        )
        .await;
        let full = Err(StoreError::Full { limit: 500 });
        assert_eq!(s.set("b", "l", vec![0; free + 1]).await, full);
        s.set("b", "l", vec![0; free - 1]).await.unwrap();
        assert_eq!(s.bytes().await.unwrap(), 999);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_values_of_one_call_are_bounded_together() {
        let folder = tempfile::tempdir().unwrap();
        let s = store(folder.path(), LIMITS).await;
        s.set("b", "k", vec![0; 1 << 20]).await.unwrap();
        let keys = |count| vec!["k".to_owned(); count];
        let limit = MAX_BATCH_BYTES;
        assert_eq!(s.get_many("b", &keys(16)).await.unwrap().len(), 16);
        assert_eq!(
            s.get_many("b", &keys(17)).await,
            Err(StoreError::BatchTooLarge { limit })
        );
        let entries = |count| {
            names(0..count)
                .into_iter()
                .map(|key| (key, vec![0; 1 << 20]))
        };
        s.set_many("b", entries(16).collect()).await.unwrap();
        let refused = s.set_many("b", entries(17).collect()).await;
        assert_eq!(refused, Err(StoreError::BatchTooLarge { limit }));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_kept_is_counted_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let mut s = store(folder.path(), LIMITS).await;
        let mut expected = BTreeMap::new();
        for round in 0..60_usize {
            let key = format!("k{}", round * 7 % 20);
            match round % 4 {
                0 | 1 => {
                    let value = vec![0; round * 13 % 50];
                    expected.insert(key.clone(), value.len());
                    s.set("some bucket", &key, value).await.unwrap();
                }
                2 => {
                    expected.remove(&key);
                    let twice = [key.clone(), key];
                    s.delete_many("some bucket", &twice).await.unwrap();
                }
                _ => {
                    // Of one that comes twice, the last counts.
                    expected.insert(key.clone(), 2);
                    let twice = vec![(key.clone(), vec![0; 99]), (key, vec![0; 2])];
                    s.set_many("some bucket", twice).await.unwrap();
                }
            }
            if round % 20 == 19 {
                drop(s);
                s = store(folder.path(), LIMITS).await;
            }
            let cost = |(key, value): (&String, &usize)| ENTRY_BYTES + (key.len() + value) as u64;
            let bytes: u64 = expected.iter().map(cost).sum();
            assert_eq!(s.bytes().await.unwrap(), bytes, "round {round}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn incrementing_keeps_decimal_text() {
        let folder = tempfile::tempdir().unwrap();
        let s = store(folder.path(), LIMITS).await;
        assert_eq!(s.increment("b", "n", 0).await, Ok(0));
        assert_eq!(s.increment("b", "n", 41).await, Ok(41));
        s.set("b", "n", b"99".to_vec()).await.unwrap();
        assert_eq!(s.increment("b", "n", 1).await, Ok(100));
        assert_eq!(s.get("b", "n").await.unwrap(), Some(b"100".to_vec()));
        assert_eq!(s.bytes().await.unwrap(), ENTRY_BYTES + 4);
        let most = u64::MAX - 100;
        assert_eq!(
            s.increment("b", "n", most + 1).await,
            Err(StoreError::Overflow)
        );
        assert_eq!(s.increment("b", "n", most).await, Ok(u64::MAX));
        s.set("b", "t", b"text".to_vec()).await.unwrap();
        assert_eq!(s.increment("b", "t", 1).await, Err(StoreError::NotANumber));
        assert_eq!(s.get("b", "t").await.unwrap(), Some(b"text".to_vec()));
    }
}
