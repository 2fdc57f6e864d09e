//! What a write changes, and how it is applied and counted.

use std::collections::{BTreeMap, BTreeSet};

use redb::{Error, ReadableTable, Table, WriteTransaction};

use super::file::{BYTES, ENTRIES, FIGURES};
use super::{ENTRY_BYTES, Limits, MAX_BUCKET, MAX_KEY, StoreError};

/// The key of an entry in the database: the bucket's name, a NUL, which no name has, and the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryKey(Vec<u8>);

impl EntryKey {
    pub(super) fn new(bucket: &str, key: &str) -> Result<Self, StoreError> {
        let prefix = Self::prefix(bucket)?;
        if !(1..=MAX_KEY).contains(&key.len()) {
            return Err(StoreError::InvalidKey);
        }
        Ok(Self([&prefix, key.as_bytes()].concat()))
    }

    /// What the keys of all entries of a bucket begin with.
    pub(super) fn prefix(bucket: &str) -> Result<Vec<u8>, StoreError> {
        if !(1..=MAX_BUCKET).contains(&bucket.len()) || bucket.chars().any(char::is_control) {
            return Err(StoreError::InvalidBucket);
        }
        Ok([bucket.as_bytes(), b"\0"].concat())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bucket's name and the key.
    pub(super) fn names(&self) -> (&str, &str) {
        let names = std::str::from_utf8(&self.0).unwrap_or_default();
        names.split_once('\0').unwrap_or_default()
    }

    /// What an entry with this key counts. The name of the bucket does not.
    pub(super) fn cost(&self, value: usize) -> u64 {
        let bucket = self.0.iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
        ENTRY_BYTES + (self.0.len() - bucket + value) as u64
    }
}

/// A write, whose names and values have been checked.
#[derive(Debug)]
pub(super) enum Change {
    /// All of them or none.
    Set(BTreeMap<EntryKey, Vec<u8>>),
    Delete(BTreeSet<EntryKey>),
    Increment(EntryKey, u64),
}

impl Change {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let keys = |count: usize| count * (ENTRY_BYTES as usize + MAX_KEY);
        match self {
            Self::Set(entries) => {
                keys(entries.len()) + entries.values().map(Vec::len).sum::<usize>()
            }
            Self::Delete(entries) => keys(entries.len()),
            Self::Increment(..) => keys(1),
        }
    }
}

/// Changes that are going to be committed together. The outer error of its functions is the database's, after which
/// nothing may be committed.
pub(super) struct Changes<'t> {
    entries: Table<'t, &'static [u8], &'static [u8]>,
    figures: Table<'t, &'static str, u64>,
    bytes: u64,
    changed: bool,
    limit: u64,
}

impl<'t> Changes<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, limits: Limits) -> Result<Self, Error> {
        let figures = transaction.open_table(FIGURES)?;
        let bytes = figures.get(BYTES)?.map_or(0, |bytes| bytes.value());
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            figures,
            bytes,
            changed: false,
            limit: limits.tenant_bytes,
        })
    }

    /// Applies one write, or nothing of it: the limits are checked first. Returns the number that an increment has
    /// led to, and zero for the others.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Result<u64, StoreError>, Error> {
        match change {
            Change::Set(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| (key, value.as_slice()))
                    .collect();
                Ok(self.set(&entries)?.map(|()| 0))
            }
            Change::Delete(keys) => {
                for key in keys {
                    self.delete(key)?;
                }
                Ok(Ok(0))
            }
            Change::Increment(key, delta) => {
                let old = match self.entries.get(key.bytes())? {
                    Some(value) => number(value.value()),
                    None => Some(0),
                };
                let Some(old) = old else {
                    return Ok(Err(StoreError::NotANumber));
                };
                let Some(new) = old.checked_add(*delta) else {
                    return Ok(Err(StoreError::Overflow));
                };
                let text = new.to_string();
                Ok(self.set(&[(key, text.as_bytes())])?.map(|()| new))
            }
        }
    }

    fn set(&mut self, entries: &[(&EntryKey, &[u8])]) -> Result<Result<(), StoreError>, Error> {
        let (mut new, mut old) = (0, 0);
        for (key, value) in entries {
            new += key.cost(value.len());
            if let Some(value) = self.entries.get(key.bytes())? {
                old += key.cost(value.value().len());
            }
        }
        let bytes = self.less(old)?.saturating_add(new);
        // When the limit has been lowered, what takes less than before may still replace it.
        if bytes > self.limit && bytes > self.bytes {
            return Ok(Err(StoreError::Full { limit: self.limit }));
        }
        for (key, value) in entries {
            self.entries.insert(key.bytes(), *value)?;
        }
        self.bytes = bytes;
        self.changed |= !entries.is_empty();
        Ok(Ok(()))
    }

    fn delete(&mut self, key: &EntryKey) -> Result<(), Error> {
        let old = self.entries.remove(key.bytes())?;
        if let Some(value) = old.map(|value| key.cost(value.value().len())) {
            self.bytes = self.less(value)?;
            self.changed = true;
        }
        Ok(())
    }

    fn less(&self, old: u64) -> Result<u64, Error> {
        self.bytes
            .checked_sub(old)
            .ok_or_else(|| Error::Corrupted("less is counted than there is".to_owned()))
    }

    /// Writes down what was counted. Returns whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool, Error> {
        if self.changed {
            self.figures.insert(BYTES, self.bytes)?;
        }
        Ok(self.changed)
    }
}

/// The number in a value, when incrementing could have written it.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: u64 = text.parse().ok()?;
    // Others, such as +1 and 007, are somebody's text.
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let new = |bucket: usize, key: usize| EntryKey::new(&"b".repeat(bucket), &"k".repeat(key));
        assert!(new(1, 1).is_ok());
        assert!(new(MAX_BUCKET, MAX_KEY).is_ok());
        assert_eq!(new(0, 1), Err(StoreError::InvalidBucket));
        assert_eq!(new(MAX_BUCKET + 1, 1), Err(StoreError::InvalidBucket));
        assert_eq!(new(1, 0), Err(StoreError::InvalidKey));
        assert_eq!(new(1, MAX_KEY + 1), Err(StoreError::InvalidKey));
        for bucket in ["a\0b", "a\nb", "\u{85}"] {
            assert_eq!(EntryKey::new(bucket, "k"), Err(StoreError::InvalidBucket));
        }
        // A key may have anything in it, and stays apart from other buckets.
        let key = EntryKey::new("b", "\0").unwrap();
        assert_eq!(key.cost(0), ENTRY_BYTES + 1);
        assert_eq!(key.bytes(), b"b\0\0");
        assert_eq!(key.names(), ("b", "\0"));
    }

    #[test]
    fn only_what_incrementing_writes_is_a_number() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for text in [
            "",
            "+1",
            "-1",
            "007",
            " 1",
            "1 ",
            "1.0",
            "one",
            "18446744073709551616",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(number(b"\xff"), None);
    }
}
