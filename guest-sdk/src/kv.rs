//! The key-value store: what outlives the plugin, its instances and the server.
//!
//! A store is buckets of keys and values. It is one for each tenant, which its plugins share: a bucket of the
//! same name is the same for all of them. What a call has stored is durable when it returns.
//!
//! ```no_run
//! # fn example() -> tulpar::Result<()> {
//! use tulpar::{json, kv};
//!
//! let carts = kv::open("carts")?;
//! carts.set_json("ada", &json!({ "items": ["tea"] }))?;
//! let visits = carts.increment("visits", 1)?;
//! if let Some(cart) = carts.get_json::<tulpar::Value>("ada")? {
//!     tulpar::log::info(format!("visit {visits}, {} items", cart["items"].as_array().map_or(0, Vec::len)));
//! }
//! # Ok(()) }
//! ```
//!
//! Keys are 1 to 256 bytes, the names of buckets 1 to 128 without control characters. A value is at most 1 MiB and
//! all of a tenant's are 64 MiB together, unless the operator says otherwise. A call for many keys names 1,000 of
//! them at most, with 16 MiB of values together.

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::imports::wasi::keyvalue::{atomics, batch, store};

/// Open the bucket of that name, 1 to 128 bytes without control characters. There is no need to make one: it is
/// there as soon as it has a key.
///
/// # Errors
/// When the name is not valid, or the store cannot be reached.
pub fn open(name: &str) -> Result<Bucket, KvError> {
    Ok(Bucket {
        handle: store::open(name)?,
    })
}

/// Keys and their values: see [`open`].
///
/// # Errors
/// Each method fails when the key is not valid, a limit is reached, or the store cannot be reached.
pub struct Bucket {
    handle: store::Bucket,
}

#[allow(clippy::missing_errors_doc)] // They are all those of the type.
impl Bucket {
    /// The value of the key; none when there is none.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.handle.get(key)?)
    }

    /// The value of the key, read as JSON; none when there is none. It fails too when the value is not JSON, or
    /// not of the shape of `T`.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> crate::Result<Option<T>> {
        from_json(key, self.get(key)?)
    }

    /// Store a value under the key, in place of the one that is there.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), KvError> {
        Ok(self.handle.set(key, value.as_ref())?)
    }

    /// Store a value under the key, written as JSON. It fails too when it cannot be written so.
    pub fn set_json(&self, key: &str, value: &(impl Serialize + ?Sized)) -> crate::Result<()> {
        let json = serde_json::to_vec(value)?;
        Ok(self.set(key, json)?)
    }

    /// Remove the key and its value. Removing what is not there does nothing.
    pub fn delete(&self, key: &str) -> Result<(), KvError> {
        Ok(self.handle.delete(key)?)
    }

    /// Whether the key has a value.
    pub fn exists(&self, key: &str) -> Result<bool, KvError> {
        Ok(self.handle.exists(key)?)
    }

    /// All keys of the bucket, in no particular order. The host hands them over in pages; a bucket that others
    /// change meanwhile may be seen half before and half after.
    pub fn keys(&self) -> Result<Vec<String>, KvError> {
        let list = |cursor| Ok(self.handle.list_keys(cursor)?);
        all_pages(|cursor| list(cursor).map(|page| (page.keys, page.cursor)))
    }

    /// Add to the number under the key, and return the sum. A key without a value counts as 0. Others that add at
    /// the same time lose nothing. How the number is stored is the server's matter: `increment(key, 0)` reads it.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, KvError> {
        Ok(atomics::increment(&self.handle, key, delta)?)
    }

    /// The values of several keys, in their order; none at the place of a key without one.
    pub fn get_many(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        let found = batch::get_many(&self.handle, &keys)?.into_iter();
        Ok(found.map(|pair| pair.map(|(_, value)| value)).collect())
    }

    /// Store several values under their keys. When it fails, some may have been stored.
    pub fn set_many(&self, values: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<(), KvError> {
        let pairs = values
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_ref()));
        Ok(batch::set_many(&self.handle, &pairs.collect::<Vec<_>>())?)
    }

    /// Remove several keys and their values. When it fails, some may have been removed.
    pub fn delete_many(&self, keys: &[impl AsRef<str>]) -> Result<(), KvError> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        Ok(batch::delete_many(&self.handle, &keys)?)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvError {
    /// No bucket can have that name.
    NoSuchStore,
    /// The plugin may not open that bucket.
    AccessDenied,
    /// Anything else, in the host's words: a key that is not valid, a limit, a disk that is full.
    Other(String),
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchStore => {
                "there is no such bucket: a name is 1 to 128 bytes without control characters"
            }
            Self::AccessDenied => "the plugin may not open that bucket",
            Self::Other(message) => message,
        })
    }
}

impl StdError for KvError {}

impl From<store::Error> for KvError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => Self::NoSuchStore,
            store::Error::AccessDenied => Self::AccessDenied,
            store::Error::Other(message) => Self::Other(message),
        }
    }
}

fn from_json<T: DeserializeOwned>(key: &str, value: Option<Vec<u8>>) -> crate::Result<Option<T>> {
    let parsed = value.as_deref().map(serde_json::from_slice).transpose();
    parsed.map_err(|error| {
        Error::from(error).context(format_args!(
            "the value of `{key}` is not JSON of the type it is read as"
        ))
    })
}

fn all_pages(
    mut list: impl FnMut(Option<u64>) -> Result<(Vec<String>, Option<u64>), KvError>,
) -> Result<Vec<String>, KvError> {
    let (mut keys, mut cursor) = list(None)?;
    while let Some(next) = cursor {
        let page;
        (page, cursor) = list(Some(next))?;
        keys.extend(page);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_all_pages() {
        let keys = all_pages(|cursor| {
            Ok(match cursor {
                None => (vec!["a".into(), "b".into()], Some(7)),
                Some(7) => (Vec::new(), Some(8)),
                Some(8) => (vec!["c".into()], None),
                Some(other) => panic!("{other}"),
            })
        });
        assert_eq!(keys.unwrap(), ["a", "b", "c"]);
        assert_eq!(
            all_pages(|_| Err(KvError::AccessDenied)),
            Err(KvError::AccessDenied)
        );
    }

    #[test]
    fn json_of_another_shape_names_its_key() {
        assert_eq!(from_json::<u8>("a", None).unwrap(), None);
        assert_eq!(from_json::<u8>("a", Some(b"1".to_vec())).unwrap(), Some(1));
        let error = from_json::<u8>("a", Some(b"{".to_vec())).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the value of `a` is not JSON"),
            "{error}"
        );
    }

    #[test]
    fn the_hosts_words_are_kept() {
        let error = KvError::from(store::Error::Other("the store is full".into()));
        assert_eq!(error.to_string(), "the store is full");
        assert_eq!(
            KvError::from(store::Error::NoSuchStore),
            KvError::NoSuchStore
        );
        assert_eq!(
            KvError::from(store::Error::AccessDenied),
            KvError::AccessDenied
        );
    }
}
