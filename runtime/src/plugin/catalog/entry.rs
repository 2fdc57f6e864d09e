//! What the catalog knows of one file.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::load::Refusal;
use super::folder::{Stamp, stamp};
use crate::ids::PluginId;

/// A file of the folder, as it was at the last look.
pub(super) struct File {
    pub(super) id: Result<PluginId, Arc<Refusal>>,
    pub(super) stamp: Stamp,
    /// Since when it is as it is, or is refused as it is.
    pub(super) since: Instant,
    /// Whether it ends too early, and has been given time for that.
    pub(super) incomplete: bool,
    /// How often it was refused as it is.
    pub(super) refusals: u32,
    /// What it consists of, once it has been read.
    pub(super) hash: Option<blake3::Hash>,
    /// What has come of it as it is.
    pub(super) outcome: Outcome,
}

/// What has come of a file.
pub(super) enum Outcome {
    /// It has not been loaded yet.
    Settling,
    /// It is served.
    Served,
    /// It is not served, because it is disabled.
    Disabled,
    /// It is not served, or not as it is now.
    Refused(Arc<Refusal>),
}

impl File {
    pub(super) fn new(id: Result<PluginId, Refusal>, file: &Path) -> Self {
        Self {
            id: id.map_err(Arc::new),
            stamp: stamp(file),
            since: Instant::now(),
            incomplete: false,
            refusals: 0,
            hash: None,
            outcome: Outcome::Settling,
        }
    }

    /// Whether it has still to be loaded.
    pub(super) fn is_settling(&self) -> bool {
        matches!(self.outcome, Outcome::Settling)
    }

    /// What tells it from the file that was there before, whatever is in it. None when it has gone.
    pub(super) fn inode(&self) -> Option<u64> {
        self.stamp.map(|(_, inode, ..)| inode)
    }

    /// Why it is refused, if it is.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
