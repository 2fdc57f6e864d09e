//! The key-value store: what outlives the plugins.
//!
//! There is one database file for each tenant and one for the root folder, opened at the first use; or one bucket of
//! JetStream, which all nodes share. A tenant's plugins
//! share one keyspace: buckets, which exist as soon as something is in them, of keys and values. A write has reached
//! the disk, or JetStream, when its call returns; a read sees every write that has returned before it.
//!
//! The host functions of `wasi:keyvalue` call this. It knows nothing of guests: who may use which tenant's store is
//! decided there. It deliberately has no transactions over several calls, no expiry and no notifications.
//!
//! [`Stores`] keeps the tenants apart, [`Store`] is one tenant's and checks what it is given. Below them are two ways to keep
//! it. `local` is a file: `queue` puts the waiting writes of a
//! tenant into one commit, `change` applies them and counts, `cursor` remembers the pages of keys, `database` opens
//! again what has failed, and `file` knows the files. `jetstream` is a bucket of JetStream, whose keys `listing` lists.

mod change;
mod cursor;
mod database;
mod error;
mod file;
mod jetstream;
mod listing;
mod local;
mod queue;
mod tenant;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

pub use self::error::StoreError;
use self::jetstream::{Jetstream, JetstreamStore};
pub use self::tenant::Store;
use crate::config::Backplane;
use crate::nats::Nats;

/// The longest name of a bucket, in bytes.
pub const MAX_BUCKET: usize = 128;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 256;

/// The most keys in one call, and in one page of keys.
pub const MAX_KEYS: usize = 1000;

/// The most bytes of values in one call for many keys, unless a single value may be larger. One key named a thousand
/// times would otherwise make a gigabyte of a megabyte.
pub const MAX_BATCH_BYTES: usize = 16 << 20;

/// What an entry counts beside its key and its value, in bytes: about what the tree needs for it.
pub const ENTRY_BYTES: u64 = 64;

/// What a tenant may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All keys and values, and [`ENTRY_BYTES`] for each entry (`limits.store-bytes`). The file is larger: up to about
    /// three times that, as values take whole pages and a change is written beside what it replaces. JetStream counts
    /// as it does, which is about the same.
    pub tenant_bytes: u64,
    /// One value (`limits.store-value-bytes`).
    pub value_bytes: usize,
}

/// The stores of all tenants. Clones are the same stores. Each is closed when nobody has it any more.
#[derive(Clone, Debug)]
pub struct Stores {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    limits: Limits,
    stores: Mutex<HashMap<Option<String>, Weak<Store>>>,
}

/// Where stores are.
#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Jetstream(Box<Jetstream>),
}

impl Stores {
    /// Stores in `folder`, which is made when the first of them is opened. Does not touch the disk.
    #[must_use]
    pub fn in_folder(folder: &Path, limits: Limits) -> Self {
        Self::new(Place::Folder(folder.to_owned()), limits)
    }

    /// Stores in JetStream, each of which is made when it is opened. Tells the log when there is no JetStream.
    #[must_use]
    pub fn in_jetstream(nats: &Nats, config: &Backplane, limits: Limits) -> Self {
        let jetstream = Jetstream::new(nats, config, limits);
        jetstream.tell_when_missing();
        Self::new(Place::Jetstream(Box::new(jetstream)), limits)
    }

    fn new(place: Place, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                place,
                limits,
                stores: Mutex::default(),
            }),
        }
    }

    /// The store of a tenant, or of the root folder, opened. Whoever asks for the same tenant gets the same store, as long as
    /// somebody has it. Cancel-safe.
    ///
    /// # Errors
    /// The name is none that a tenant can have, or the file or the bucket cannot be opened. The next call tries again.
    pub async fn of(&self, tenant: Option<&str>) -> Result<Arc<Store>, StoreError> {
        let store = self.take(tenant)?;
        store.ready().await?;
        Ok(store)
    }

    /// The same, which may not be open.
    fn take(&self, tenant: Option<&str>) -> Result<Arc<Store>, StoreError> {
        let file = file::name(tenant).ok_or(StoreError::InvalidTenant)?;
        let stores = self.inner.stores.lock();
        let mut stores = stores.unwrap_or_else(PoisonError::into_inner);
        let tenant = tenant.map(str::to_owned);
        if let Some(store) = stores.get(&tenant).and_then(Weak::upgrade) {
            return Ok(store);
        }
        // Those of tenants that are gone.
        stores.retain(|_, store| store.strong_count() > 0);
        let limits = self.inner.limits;
        let store = Arc::new(match &self.inner.place {
            Place::Folder(folder) => Store::in_file(&folder.join(file), limits),
            Place::Jetstream(jetstream) => {
                let store = JetstreamStore::new(jetstream, tenant.as_deref());
                Store::in_jetstream(store, limits)
            }
        });
        stores.insert(tenant, Arc::downgrade(&store));
        Ok(store)
    }
}

/// A plugin's way to its tenant's store, which stays open from the first use on, for as long as this is there.
#[derive(Debug)]
pub struct Access {
    stores: Stores,
    tenant: Option<String>,
    store: OnceLock<Arc<Store>>,
}

impl Access {
    /// To the store of a tenant, or of the root folder. Does not touch the disk.
    #[must_use]
    pub fn new(stores: &Stores, tenant: Option<&str>) -> Self {
        Self {
            stores: stores.clone(),
            tenant: tenant.map(str::to_owned),
            store: OnceLock::new(),
        }
    }

    /// The store, opened. Cancel-safe.
    ///
    /// # Errors
    /// See [`Stores::of`].
    pub async fn open(&self) -> Result<Arc<Store>, StoreError> {
        let store = match self.store.get() {
            Some(store) => store,
            None => {
                let store = self.stores.take(self.tenant.as_deref())?;
                self.store.get_or_init(|| store)
            }
        };
        store.ready().await?;
        Ok(store.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const LIMITS: Limits = Limits {
        tenant_bytes: 64 << 20,
        value_bytes: 1 << 20,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_is_open_as_long_as_somebody_has_a_way_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let ways = [0, 1].map(|_| Access::new(&stores, Some("acme")));
        let store = Arc::downgrade(&ways[0].open().await.unwrap());
        assert!(Arc::ptr_eq(
            &ways[1].open().await.unwrap(),
            &store.upgrade().unwrap()
        ));
        let [one, other] = ways;
        drop(one);
        assert!(store.upgrade().is_some());
        drop(other);
        assert!(store.upgrade().is_none());
        stores.of(Some("other")).await.unwrap();
        assert_eq!(stores.inner.stores.lock().unwrap().len(), 1);
        stores.of(Some("acme")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tenants_are_apart() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let tenants = [
            None,
            Some("root"),
            Some("ROOT"),
            Some("acme"),
            Some("Acme"),
            Some("."),
            Some(".."),
        ];
        for tenant in tenants {
            let value = format!("{tenant:?}").into_bytes();
            let store = stores.of(tenant).await.unwrap();
            assert_eq!(store.get("b", "k").await.unwrap(), None);
            store.set("b", "k", value).await.unwrap();
        }
        for tenant in tenants {
            let store = stores.of(tenant).await.unwrap();
            let value = format!("{tenant:?}").into_bytes();
            assert_eq!(store.get("b", "k").await.unwrap(), Some(value));
        }
        // All of them are in the folder, under names that differ in more than the case of letters.
        let names: std::collections::HashSet<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().to_lowercase())
            .collect();
        assert_eq!(names.len(), tenants.len(), "{names:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("store");
        let stores = Stores::in_folder(&inside, LIMITS);
        let long = "a".repeat(65);
        for name in ["", "../x", "a/b", "/etc", "a\0", "%2e", "ä", "@root", &long] {
            let refused = stores.of(Some(name)).await;
            assert!(matches!(refused, Err(StoreError::InvalidTenant)), "{name}");
        }
        assert!(!inside.exists());
        stores.of(Some(&"A".repeat(64))).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_opens_first_opens_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let opened: Vec<_> = (0..32)
            .map(|_| {
                let stores = stores.clone();
                tokio::spawn(async move { stores.of(Some("acme")).await.unwrap() })
            })
            .collect();
        let first = stores.of(Some("acme")).await.unwrap();
        for store in opened {
            assert!(Arc::ptr_eq(&first, &store.await.unwrap()));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dropping_the_stores_closes_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let store = stores.of(None).await.unwrap();
        store.set("b", "k", b"v".to_vec()).await.unwrap();
        // As long as one process has a file open, no other gets it.
        let second = Stores::in_folder(folder.path(), LIMITS);
        let refused = second.of(None).await.unwrap_err();
        assert!(refused.to_string().contains("another process"), "{refused}");
        drop((stores, store));
        let store = second.of(None).await.unwrap();
        assert_eq!(store.get("b", "k").await.unwrap(), Some(b"v".to_vec()));
    }
}
