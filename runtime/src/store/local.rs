//! A store in a file of this node.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadableDatabase;

use super::change::EntryKey;
use super::cursor::{Cursors, Place, page};
use super::database::Handle;
use super::file::{BYTES, FIGURES};
use super::queue::Queue;
use super::{Limits, StoreError};

/// What a tenant keeps in a file.
pub(super) struct LocalStore {
    database: Arc<Handle>,
    pub(super) queue: Arc<Queue>,
    cursors: Mutex<Cursors>,
}

impl LocalStore {
    pub(super) fn new(file: &Path, limits: Limits) -> Self {
        let database = Arc::new(Handle::new(file));
        Self {
            queue: Arc::new(Queue::new(database.clone(), limits)),
            database,
            cursors: Mutex::default(),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.database.file
    }

    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        self.database.ready().await
    }

    pub(super) async fn get(&self, key: &EntryKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.database
            .peek(|entries| {
                Ok(entries
                    .get(key.bytes())?
                    .map(|value| value.value().to_vec()))
            })
            .await
    }

    pub(super) async fn exists(&self, key: &EntryKey) -> Result<bool, StoreError> {
        self.database
            .peek(|entries| Ok(entries.get(key.bytes())?.is_some()))
            .await
    }

    pub(super) async fn get_many(
        &self,
        keys: Vec<EntryKey>,
        limit: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.database
            .read(move |entries| {
                let mut bytes = 0;
                let mut values = Vec::with_capacity(keys.len());
                for key in &keys {
                    let found = entries.get(key.bytes())?;
                    bytes += found.as_ref().map_or(0, |value| value.value().len());
                    if bytes > limit {
                        return Ok(Err(StoreError::BatchTooLarge { limit }));
                    }
                    values.push(found.map(|value| value.value().to_vec()));
                }
                Ok(Ok(values))
            })
            .await?
    }

    pub(super) async fn keys(
        &self,
        bucket: &str,
        cursor: Option<u64>,
    ) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let prefix = EntryKey::prefix(bucket)?;
        let (place, before) = match cursor {
            Some(cursor) => self.cursors(|cursors| cursors.place(bucket, cursor)),
            None => (Place::Skip(0), 0),
        };
        let (keys, end) = self
            .database
            .read(move |entries| page(entries, &prefix, &place))
            .await?;
        let count = before.saturating_add(keys.len());
        let next = end.map(|end| self.cursors(|cursors| cursors.remember(bucket, count, end)));
        Ok((keys, next))
    }

    pub(super) async fn bytes(&self) -> Result<u64, StoreError> {
        self.database
            .on_pool(|database| {
                let figures = database.begin_read()?.open_table(FIGURES)?;
                Ok(figures.get(BYTES)?.map_or(0, |bytes| bytes.value()))
            })
            .await
    }

    fn cursors<T>(&self, work: impl FnOnce(&mut Cursors) -> T) -> T {
        work(&mut self.cursors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
