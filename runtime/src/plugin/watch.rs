//! When it is worth while to look at the plugins folder: the operating system tells, and where it does not, as on some
//! network file systems, one looks now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// How often one looks in any case: what changes behind a symlink, or on another machine, nobody tells.
const LOOK: Duration = Duration::from_secs(2);
/// How long a file that was opened for writing, and not closed, has to be quiet to count as written. The news of its
/// being closed can be lost.
const ABANDONED: Duration = Duration::from_secs(10);
/// News that may wait. When there are more, one looks at the whole folder anyhow.
const NEWS: usize = 1024;

/// Watches a folder and the tenants' folders in it.
pub(super) struct Watch {
    /// None: the operating system does not tell.
    watcher: Option<RecommendedWatcher>,
    news: mpsc::Receiver<Event>,
    watched: BTreeSet<PathBuf>,
    /// Files that somebody writes to, and when that was last seen.
    being_written: BTreeMap<PathBuf, Instant>,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let (teller, news) = mpsc::channel(NEWS);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Looking at the folder opens it, which is no news.
            let news = event.as_ref().is_ok_and(|event| {
                !event.kind.is_access()
                    || event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
            });
            if news && let Ok(event) = event {
                // When it is full, somebody is about to look.
                let _ = teller.try_send(event);
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(
                "the plugins folder is looked at each {} s: {error}",
                LOOK.as_secs()
            );
        }
        Self {
            watcher: watcher.ok(),
            news,
            watched: BTreeSet::new(),
            being_written: BTreeMap::new(),
        }
    }

    /// Watches these folders, and no others. Those that cannot be watched are looked at now and then.
    pub(super) fn watch(&mut self, folders: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.watched.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        let new = folders.difference(&self.watched);
        let failed: Vec<_> = new
            .filter(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_err())
            .cloned()
            .collect();
        self.watched = folders;
        for folder in failed {
            self.watched.remove(&folder);
        }
    }

    /// Waits until it is worth while to look, at the latest until `due`. Cancel-safe.
    pub(super) async fn changed(&mut self, due: Option<Instant>) {
        let latest = Instant::now() + LOOK;
        let due = due.map_or(latest, |due| due.min(latest));
        tokio::select! {
            Some(event) = self.news.recv() => self.hear(event),
            () = sleep_until(due.into()) => return,
        }
        while let Ok(event) = self.news.try_recv() {
            self.hear(event);
        }
    }

    fn hear(&mut self, event: Event) {
        let writes = match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => true,
            // Also of links, which nobody writes to.
            EventKind::Create(_)
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => false,
            // A folder that is gone is not watched any more, also when it comes again under the same name.
            _ => return,
        };
        for path in event.paths {
            if matches!(
                event.kind,
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            ) {
                self.watched.remove(&path);
            }
            match writes {
                true => _ = self.being_written.insert(path, Instant::now()),
                false => _ = self.being_written.remove(&path),
            }
        }
    }

    /// How long a file has to be quiet to count as written.
    pub(super) fn patience(&mut self, file: &Path, settle: Duration) -> Duration {
        match self.being_written.get(file) {
            Some(seen) if seen.elapsed() < ABANDONED => ABANDONED.max(settle),
            Some(_) => {
                self.being_written.remove(file);
                settle
            }
            None => settle,
        }
    }
}
