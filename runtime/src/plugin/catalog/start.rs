//! What is loaded before the server accepts connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::super::Shared;
use super::super::state::State;
use super::super::watch::Watch;
use super::entry::File;
use super::folder::{file_of, folders, lies_in, scan};
use super::turns::{Turns, in_turns};
use super::{Catalog, Speed};

impl Catalog {
    /// Loads what is in `folder`: first what has been compiled before, of each folder up to the first that has not, then the
    /// rest, as far as that takes no longer than `timeouts.start-ms`. What is left, [`Catalog::next`] loads.
    ///
    /// # Errors
    /// The folder cannot be read, or what is kept of plugins is damaged.
    pub async fn open(shared: Arc<Shared>) -> anyhow::Result<Self> {
        let config = shared.config.load_full();
        let folder = config.plugins.clone();
        let start = config.timeouts.start();
        let mut catalog = Self {
            settle: config.timeouts.settle(),
            watch: Watch::new(),
            state: State::open(&config.state)?,
            files: BTreeMap::new(),
            turns: Turns::default(),
            loaded: Vec::new(),
            shared,
            folder,
        };
        catalog.watch.watch(folders(&catalog.folder));
        let found = scan(&catalog.folder).map_err(|error| {
            anyhow::anyhow!(
                "cannot read the plugins folder {}: {error}",
                catalog.folder.display()
            )
        })?;
        for (file, id) in found.found {
            catalog.files.insert(file.clone(), File::new(id, &file));
        }
        // What has gone while nobody looked. Not what was rolled back: if its file came again, it would be served. Nor
        // anything when there are no files at all, as in a folder that is still to be filled.
        if !catalog.files.is_empty() {
            catalog.state.retain(|key, kept| {
                let file = file_of(&catalog.folder, key);
                let is_there = catalog.files.contains_key(&file);
                is_there || kept.rejected.is_some() || lies_in(&file, &found.unreadable)
            });
        }
        let until = tokio::time::Instant::now() + start;
        let _ = timeout_at(until, catalog.load_first()).await;
        let left = catalog.files.values().filter(|known| known.is_settling());
        let left = left.count();
        if left > 0 {
            tracing::warn!(
                "{left} of the plugins are still to be compiled and are served when they are (timeouts.start-ms)"
            );
        }
        Ok(catalog)
    }

    /// Loads everything, what takes long last. In each folder the order is that of the names, so that of two rivals it is
    /// always the same one that is served.
    async fn load_first(&mut self) {
        let mut files: Vec<_> = self.files.keys().cloned().collect();
        in_turns(&self.folder, &mut files);
        for speed in [Speed::AtHand, Speed::Any] {
            let mut slow = BTreeSet::new();
            for file in &files {
                let settles = |it: &Self| it.files.get(file).is_some_and(File::is_settling);
                if !settles(self) || slow.contains(&file.parent()) {
                    continue;
                }
                if let Some(change) = self.load(file, Duration::ZERO, speed).await {
                    self.took_effect(change);
                }
                if settles(self) {
                    slow.insert(file.parent());
                }
            }
        }
    }
}
