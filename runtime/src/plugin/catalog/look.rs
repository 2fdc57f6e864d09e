//! A look at the folder: what has come, changed and gone since the one before.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{File, Outcome};
use super::folder::{Scanned, file_of, folders, lies_in, scan};
use super::{Catalog, INCOMPLETE};
use crate::plugin::describe::Loaded;

/// How long after its refusal a file is tried again that was refused for what passes. Twice as long after each time, up to
/// [`LONGEST_RETRY`]: what is compiled in vain takes up others' time.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(640);

/// What is to be done next.
pub(super) enum Found {
    /// A plugin is not to be served any more.
    Gone(Arc<Loaded>),
    /// What has gone is in no list any more.
    Forgotten,
    /// A file is to be loaded.
    Ready(PathBuf),
    /// To look again, at the latest then.
    Nothing(Option<Instant>),
}

impl Catalog {
    /// Looks at the folder.
    pub(super) fn look(&mut self) -> Found {
        self.watch.watch(folders(&self.folder));
        let found = match scan(&self.folder) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    "cannot read the plugins folder {}: {error}",
                    self.folder.display()
                );
                return Found::Nothing(None);
            }
        };
        let Scanned { found, unreadable } = found;
        let mut there = BTreeSet::new();
        for (file, id) in found {
            let new = File::new(id, &file);
            match self.files.get_mut(&file) {
                Some(known) if known.stamp == new.stamp => {}
                Some(known) => *known = new,
                None => _ = self.files.insert(file.clone(), new),
            }
            there.insert(file);
        }
        let mut due: Option<Instant> = None;
        let mut not_before = |when: Instant| due = Some(due.map_or(when, |due| due.min(when)));
        let (mut gone, mut forgotten) = (None, BTreeSet::new());
        let mut ready: Option<(_, PathBuf)> = None;
        self.turns.retain(self.files.keys());
        let now = Instant::now();
        for (file, known) in &mut self.files {
            // Of what cannot be read nobody knows, and it stays as it is.
            if lies_in(file, &unreadable) {
                continue;
            }
            let is_there = there.contains(file);
            if !is_there && known.stamp.is_some() {
                known.stamp = None;
                known.since = now;
            }
            let serves = known.id.as_ref().ok().and_then(|id| {
                let loaded = self.loaded.iter();
                loaded.clone().find(|loaded| loaded.plugin.id() == id)
            });
            let disabled = matches!(&known.id, Ok(id) if self.state.of(&id.key()).disabled);
            let mut patience = self.watch.patience(file, self.settle);
            if known.incomplete {
                patience = patience.max(INCOMPLETE);
            }
            let settles = known.since + patience;
            match (&known.outcome, is_there) {
                _ if is_there && disabled => {
                    known.outcome = Outcome::Disabled;
                    gone = gone.or(serves.cloned());
                }
                (Outcome::Settling, true) if settles <= now => {
                    // One of each folder in turn, and of these the one that has waited longest: neither a tenant with many
                    // nor a file that changes all the time keeps others waiting.
                    let turn = (self.turns.of(file), known.since);
                    if ready.as_ref().is_none_or(|(first, _)| turn < *first) {
                        ready = Some((turn, file.clone()));
                    }
                }
                // Enabled again.
                (Outcome::Disabled, true) => {
                    known.outcome = Outcome::Settling;
                    not_before(now);
                }
                (Outcome::Settling, true) => not_before(settles),
                (Outcome::Refused(refusal), true) if refusal.passes() => {
                    let pause = RETRY * 2_u32.saturating_pow(known.refusals.saturating_sub(1));
                    let again = known.since + pause.min(LONGEST_RETRY);
                    if again <= now {
                        known.outcome = Outcome::Settling;
                    }
                    not_before(again);
                }
                (_, true) => {}
                (_, false) if settles > now => not_before(settles),
                (_, false) => match serves {
                    Some(serves) => gone = gone.or(Some(serves.clone())),
                    None => _ = forgotten.insert(file.clone()),
                },
            }
        }
        self.files.retain(|file, _| !forgotten.contains(file));
        self.state
            .retain(|key, _| !forgotten.contains(&file_of(&self.folder, key)));
        match (gone, ready) {
            (Some(gone), _) => Found::Gone(gone),
            _ if !forgotten.is_empty() => Found::Forgotten,
            (None, Some((_, file))) => Found::Ready(file),
            (None, None) => Found::Nothing(due),
        }
    }
}
