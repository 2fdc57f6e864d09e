//! When a source has changed. What is built from it changes too, and is no source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::build::crates::Crates;

/// How long nothing has to change any more: an editor writes a file in several steps, and a checkout many files.
const QUIET: Duration = Duration::from_millis(50);
/// Changes that may wait. One is enough.
const NEWS: usize = 64;

/// Watches the sources of crates.
pub(super) struct Sources {
    watcher: RecommendedWatcher,
    /// The crates' folders.
    folders: BTreeSet<PathBuf>,
    news: mpsc::Receiver<()>,
}

impl Sources {
    /// Watches from now on.
    ///
    /// # Errors
    /// The operating system does not tell what changes.
    pub(super) fn watch(crates: &Crates) -> Result<Self> {
        let (teller, news) = mpsc::channel(NEWS);
        let folders = crates.sources();
        let of_crates = folders.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event, &of_crates)) {
                // When it is full, somebody is about to build.
                let _ = teller.try_send(());
            }
        });
        let watcher = watcher.context("the system does not tell what changes")?;
        let mut sources = Self {
            watcher,
            folders,
            news,
        };
        sources.look()?;
        Ok(sources)
    }

    /// Waits until something has changed, and then for as long as it goes on changing. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        self.news.recv().await;
        while let Ok(Some(())) = timeout(QUIET, self.news.recv()).await {}
        // There may be folders that were not there before.
        if let Err(error) = self.look() {
            tracing::warn!("not everything is watched: {error:#}");
        }
    }

    /// Watches each crate's folder and, with all that is in them, the folders in it that may hold sources.
    fn look(&mut self) -> Result<()> {
        for folder in self.folders.clone() {
            self.watch_one(&folder, RecursiveMode::NonRecursive)?;
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let name = entry.file_name();
                if entry.path().is_dir() && holds_sources(name.as_encoded_bytes()) {
                    self.watch_one(&entry.path(), RecursiveMode::Recursive)?;
                }
            }
        }
        Ok(())
    }

    fn watch_one(&mut self, folder: &Path, mode: RecursiveMode) -> Result<()> {
        let watched = self.watcher.watch(folder, mode);
        watched.with_context(|| format!("{} cannot be watched", folder.display()))
    }
}

/// Whether a folder of that name in a crate's may hold sources: not what Cargo or a server makes.
fn holds_sources(name: &[u8]) -> bool {
    !matches!(name, b"target" | b"plugins" | [b'.', ..])
}

/// Whether that is a change of a source, below one of these folders.
fn is_change<'a>(event: &Event, folders: impl IntoIterator<Item = &'a PathBuf> + Copy) -> bool {
    let happened = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    // By where it lies in its crate: the way to that may well lead through a folder called `target`.
    let is_source = |path: &PathBuf| {
        let within = folders
            .into_iter()
            .filter_map(|folder| path.strip_prefix(folder).ok());
        let nearest = within.min_by_key(|rest| rest.as_os_str().len());
        nearest.is_some_and(|rest| {
            let mut parts = rest.iter().map(|part| part.as_encoded_bytes());
            match rest.iter().count() {
                // Beside the manifest lies what is none: a log, which grows with each build.
                1 => parts.all(|name| name == b"Cargo.toml" || name.ends_with(b".rs")),
                _ => parts.all(holds_sources),
            }
        })
    };
    happened && event.paths.iter().any(is_source)
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, ModifyKind};

    use super::*;

    #[test]
    fn what_is_built_and_what_is_read_is_no_change() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let folders = [PathBuf::from("/target/a")];
        let is = |kind, path: &str| is_change(&Event::new(kind).add_path(path.into()), &folders);
        assert!(is(written, "/target/a/src/lib.rs"));
        assert!(is(written, "/target/a/src/page.html"));
        assert!(is(
            EventKind::Create(CreateKind::File),
            "/target/a/Cargo.toml"
        ));
        assert!(is(
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            "/target/a/src/lib.rs"
        ));
        for path in [
            "/target/a/target/x",
            "/target/a/plugins/x.wasm",
            "/target/a/src/.lib.rs.swp",
            "/target/a/Cargo.lock",
            "/target/a/log",
            "/elsewhere",
        ] {
            assert!(!is(written, path), "{path}");
        }
        assert!(!is(
            EventKind::Access(AccessKind::Open(AccessMode::Read)),
            "/target/a/src/lib.rs"
        ));
    }
}
