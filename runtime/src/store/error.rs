//! What can go wrong with a store, and how the database's errors become that.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{MAX_BUCKET, MAX_KEY, MAX_KEYS};

/// Why an operation on a store failed. Unless it is a fault, nothing has changed, but for those of many keys in JetStream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No tenant can have that name.
    #[error("a tenant's name is 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_`, `.`, `~`")]
    InvalidTenant,
    /// Not 1 to [`MAX_BUCKET`] bytes without control characters.
    #[error("a bucket's name is 1 to {MAX_BUCKET} bytes without control characters")]
    InvalidBucket,
    /// Not 1 to [`MAX_KEY`] bytes.
    #[error("a key is 1 to {MAX_KEY} bytes")]
    InvalidKey,
    /// A single value is too large.
    #[error("the value is over {limit} bytes (limits.store-value-bytes)")]
    ValueTooLarge {
        /// The most bytes of a value.
        limit: usize,
    },
    /// A single value is larger than what NATS takes in one message.
    #[error("the value is over {limit} bytes, the most that NATS takes (max_payload)")]
    OverPayload {
        /// The most bytes of a value.
        limit: usize,
    },
    /// The values of one call for many keys are too large together.
    #[error("the values are over {limit} bytes together; take fewer keys in one call")]
    BatchTooLarge {
        /// The most bytes of values in one call.
        limit: usize,
    },
    /// The tenant would keep too much.
    #[error("the store would hold over {limit} bytes (limits.store-bytes); delete something first")]
    Full {
        /// The most bytes of a tenant.
        limit: u64,
    },
    /// The value to increment is not what incrementing writes.
    #[error("the value is not a whole number in decimal digits from 0 to 18446744073709551615")]
    NotANumber,
    /// The incremented value would be over the largest number.
    #[error("the value would be over 18446744073709551615")]
    Overflow,
    /// Too many keys in one call.
    #[error("over {MAX_KEYS} keys in one call")]
    TooMany,
    /// The disk or the operating system fails, for example as the disk is full. Whether a write that got this has
    /// happened is not known until the store works again. The next operation tries again.
    #[error("the store {} cannot be used: {reason}", file.display())]
    Io {
        /// The database's file.
        file: Arc<Path>,
        /// What happened.
        reason: Arc<str>,
    },
    /// The file is damaged, or is none of ours. Restore it from a backup, or move it away to begin with an empty one.
    #[error("the store {} is damaged: {reason}", file.display())]
    Corrupt {
        /// The database's file.
        file: Arc<Path>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// NATS fails, or cannot be reached. Whether a write that got this has happened is not known until the store works
    /// again. The next operation tries again.
    #[error("the store {bucket} in NATS cannot be used: {reason}")]
    Nats {
        /// The bucket's name.
        bucket: Arc<str>,
        /// What happened.
        reason: Arc<str>,
    },
}

impl StoreError {
    /// Whether the store failed and not the caller. The text then names a file of the host or a bucket of NATS.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Corrupt { .. } | Self::Nats { .. }
        )
    }

    pub(super) fn io(file: &Arc<Path>, reason: &str) -> Self {
        Self::Io {
            file: file.clone(),
            reason: reason.into(),
        }
    }

    pub(super) fn corrupt(file: &Arc<Path>, reason: &str) -> Self {
        Self::Corrupt {
            file: file.clone(),
            reason: reason.into(),
        }
    }

    /// What an error of the database says about its file.
    pub(super) fn of_database(file: &Arc<Path>, error: &redb::Error) -> Self {
        use redb::Error as E;
        match error {
            E::DatabaseAlreadyOpen => Self::io(file, "another process has it open"),
            // The database reports a file that is none as invalid data.
            E::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::corrupt(file, &error.to_string())
                }
                _ => Self::io(file, &error.to_string()),
            },
            E::Corrupted(reason) => Self::corrupt(file, reason),
            E::UpgradeRequired(_)
            | E::TableTypeMismatch { .. }
            | E::TableIsMultimap(_)
            | E::TypeDefinitionChanged { .. }
            | E::TableDoesNotExist(_) => Self::corrupt(file, &error.to_string()),
            _ => Self::io(file, &error.to_string()),
        }
    }

    /// What a panic of the database says about its file: it trusts what it reads, and panics where that makes no sense.
    pub(super) fn of_panic(file: &Arc<Path>, panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Self::corrupt(file, text.unwrap_or("the database panicked"))
    }
}
