//! `wasi:keyvalue`: the store of the plugin's tenant.

use std::sync::Arc;

use slab::Slab;
use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use super::super::bindings::wasi::keyvalue::store::{Error, Host, HostBucket, KeyResponse};
use super::super::bindings::wasi::keyvalue::{atomics, batch};
use super::HostState;
use crate::store::{Store, StoreError};

/// What a guest's handle to a bucket stands for: a place in [`Buckets`].
pub struct BucketHandle;

/// A bucket that a guest has opened. A bucket exists as soon as something is in it, so this is only its name.
#[derive(Clone)]
struct Bucket {
    store: Arc<Store>,
    name: Arc<str>,
}

/// The buckets that an instance has handles to.
pub(super) struct Buckets {
    buckets: Slab<Bucket>,
    limit: usize,
}

impl Buckets {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buckets: Slab::new(),
            limit,
        }
    }

    /// Gives a bucket to the guest until it drops it; none when it has too many.
    fn give(&mut self, bucket: Bucket) -> Option<Resource<BucketHandle>> {
        (self.buckets.len() < self.limit).then(|| {
            // There are never as many as four billion.
            Resource::new_own(self.buckets.insert(bucket) as u32)
        })
    }

    /// A copy, as an operation waits and the state cannot be lent for that long.
    fn get(&self, handle: &Resource<BucketHandle>) -> Result<Bucket> {
        self.buckets
            .get(handle.rep() as usize)
            .cloned()
            .ok_or_else(|| format_err!("the bucket's handle is not valid any more"))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InvalidBucket => Self::NoSuchStore,
            StoreError::InvalidTenant => Self::AccessDenied,
            // The text names a file of the host, and is in its log.
            fault if fault.is_fault() => {
                Self::Other("the store cannot be used at the moment".to_owned())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

impl Host for HostState {
    async fn open(&mut self, name: String) -> Result<Result<Resource<BucketHandle>, Error>> {
        if let Err(error) = Store::check_bucket(&name) {
            return Ok(Err(error.into()));
        }
        let store = match self.store.open().await {
            Ok(store) => store,
            Err(error) => return Ok(Err(error.into())),
        };
        let name = name.into();
        Ok(self.buckets.give(Bucket { store, name }).ok_or_else(|| {
            Error::Other(format!(
                "the plugin holds {} buckets, the most it may (limits.handles)",
                self.buckets.limit
            ))
        }))
    }
}

impl HostBucket for HostState {
    async fn get(
        &mut self,
        bucket: Resource<BucketHandle>,
        key: String,
    ) -> Result<Result<Option<Vec<u8>>, Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let value = bucket.store.get(&bucket.name, &key).await;
        Ok(value.map_err(Error::from))
    }

    async fn set(
        &mut self,
        bucket: Resource<BucketHandle>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Result<(), Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let set = bucket.store.set(&bucket.name, &key, value).await;
        Ok(set.map_err(Error::from))
    }

    async fn delete(
        &mut self,
        bucket: Resource<BucketHandle>,
        key: String,
    ) -> Result<Result<(), Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let deleted = bucket.store.delete(&bucket.name, &key).await;
        Ok(deleted.map_err(Error::from))
    }

    async fn exists(
        &mut self,
        bucket: Resource<BucketHandle>,
        key: String,
    ) -> Result<Result<bool, Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let exists = bucket.store.exists(&bucket.name, &key).await;
        Ok(exists.map_err(Error::from))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<BucketHandle>,
        cursor: Option<u64>,
    ) -> Result<Result<KeyResponse, Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let page = bucket.store.keys(&bucket.name, cursor).await;
        Ok(page
            .map(|(keys, cursor)| KeyResponse { keys, cursor })
            .map_err(Error::from))
    }

    async fn drop(&mut self, bucket: Resource<BucketHandle>) -> Result<()> {
        self.buckets.buckets.try_remove(bucket.rep() as usize);
        Ok(())
    }
}

impl atomics::Host for HostState {
    async fn increment(
        &mut self,
        bucket: Resource<BucketHandle>,
        key: String,
        delta: u64,
    ) -> Result<Result<u64, Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let sum = bucket.store.increment(&bucket.name, &key, delta).await;
        Ok(sum.map_err(Error::from))
    }
}

impl batch::Host for HostState {
    async fn get_many(
        &mut self,
        bucket: Resource<BucketHandle>,
        keys: Vec<String>,
    ) -> Result<Result<Vec<Option<(String, Vec<u8>)>>, Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let values = bucket.store.get_many(&bucket.name, &keys).await;
        Ok(values
            .map(|values| {
                let pairs = keys.into_iter().zip(values);
                pairs.map(|(key, value)| Some((key, value?))).collect()
            })
            .map_err(Error::from))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<BucketHandle>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<Result<(), Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let set = bucket.store.set_many(&bucket.name, key_values).await;
        Ok(set.map_err(Error::from))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<BucketHandle>,
        keys: Vec<String>,
    ) -> Result<Result<(), Error>> {
        let bucket = self.buckets.get(&bucket)?;
        let deleted = bucket.store.delete_many(&bucket.name, &keys).await;
        Ok(deleted.map_err(Error::from))
    }
}
