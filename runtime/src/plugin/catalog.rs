//! The plugins of a folder: which there are, which are refused, and what comes, changes and goes while the server runs.
//!
//! The catalog finds out what has changed and loads it; whoever asks it for the next [`Change`] makes it take effect, and
//! tells how that went.

mod entry;
mod folder;
mod look;
mod rivals;
mod start;
mod turns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::folder::identify;

use self::entry::{File, Outcome};
pub use self::folder::place;
use self::folder::{file_of, stamp};
use self::look::Found;
use self::rivals::check_free;
use self::turns::Turns;
use super::Shared;
use super::describe::Loaded;
use super::host::one_line;
use super::load::{Content, Refusal, load};
use super::state::State;
use super::watch::Watch;
use crate::ids::PluginId;

/// How long a file that is not complete has to stay so before it is refused for it.
const INCOMPLETE: Duration = Duration::from_secs(2);

/// All plugins of a folder.
pub struct Catalog {
    shared: Arc<Shared>,
    folder: PathBuf,
    /// How long a file has to stay as it is before it is loaded.
    settle: Duration,
    watch: Watch,
    state: State,
    files: BTreeMap<PathBuf, File>,
    turns: Turns,
    /// In the order of their loading.
    loaded: Vec<Arc<Loaded>>,
}

/// What is to be loaded.
#[derive(Clone, Copy, PartialEq)]
enum Speed {
    /// What has been compiled before.
    AtHand,
    /// Everything.
    Any,
}

/// Something that is to take effect.
pub enum Change {
    /// A plugin has come.
    Added(Arc<Loaded>, Content),
    /// A plugin has become another.
    Replaced {
        /// What serves until now.
        old: Arc<Loaded>,
        /// What is to serve.
        new: Arc<Loaded>,
        /// What the new one consists of.
        content: Content,
    },
    /// A plugin has gone, or is not to be served any more.
    Removed(Arc<Loaded>),
}

/// One plugin, for a list.
pub struct Listed<'a> {
    /// Its file, in the folder.
    pub file: &'a Path,
    /// What is served of it.
    pub loaded: Option<&'a Arc<Loaded>>,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Whether something else is served than what its file consists of.
    pub rolled_back: bool,
    /// Whether there is something to roll it back to.
    pub has_previous: bool,
    /// Why it is not served as its file is now.
    pub refusal: Option<&'a Refusal>,
    /// The inode of the file of which all of this is told; none when there is a newer one that has still to be loaded.
    pub inode: Option<u64>,
}

impl Catalog {
    /// The plugins that are loaded, in the order of their loading.
    #[must_use]
    pub fn loaded(&self) -> &[Arc<Loaded>] {
        &self.loaded
    }

    /// The files that are refused, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&Path, &Refusal)> {
        self.files
            .iter()
            .filter_map(|(file, known)| Some((file.as_path(), known.refusal()?)))
    }

    /// All files, by name.
    pub fn list(&self) -> impl Iterator<Item = Listed<'_>> {
        self.files.iter().map(|(file, known)| {
            let id = known.id.as_ref().ok();
            let kept = id.map(|id| self.state.of(&id.key())).unwrap_or_default();
            Listed {
                file: file.strip_prefix(&self.folder).unwrap_or(file),
                loaded: id.and_then(|id| self.present(id)),
                disabled: kept.disabled,
                rolled_back: kept.rejected.is_some(),
                has_previous: kept.previous.is_some(),
                refusal: known.refusal(),
                inode: known.inode().filter(|_| !known.is_settling()),
            }
        })
    }

    /// Waits until something is different. What has to take effect is for the caller to do, who then says so by
    /// [`Catalog::took_effect`] or [`Catalog::failed`]; none when a file is refused or forgotten, for instance. Cancel-safe:
    /// what was not returned is found again.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.look() {
                Found::Gone(gone) => return Some(Change::Removed(gone)),
                Found::Forgotten => return None,
                Found::Ready(file) => {
                    self.turns.took(&file);
                    return self.load(&file, INCOMPLETE, Speed::Any).await;
                }
                Found::Nothing(due) => self.watch.changed(due).await,
            }
        }
    }

    /// Loads a file as it is now. None when it is not to be served, or is served as it is. One that is not complete is
    /// refused when it has been so for as long as `patience`. One that is not there fast enough is left as it is.
    async fn load(&mut self, file: &Path, patience: Duration, speed: Speed) -> Option<Change> {
        let known = self.files.get(file)?;
        let id = match &known.id {
            Ok(id) => id.clone(),
            Err(refusal) => {
                let refusal = refusal.clone();
                self.set_outcome(file, Outcome::Refused(refusal));
                return None;
            }
        };
        if self.state.of(&id.key()).disabled {
            self.set_outcome(file, Outcome::Disabled);
            return None;
        }
        let (since, before) = (known.since, known.stamp);
        let limit = self.shared.config.load().limits.max_plugin_bytes;
        let mut content = Content::read(file, limit).await;
        if stamp(file) != before {
            // Somebody is writing it; the next look sees that.
            return None;
        }
        if let Err(Refusal::Incomplete | Refusal::Empty) = &content
            && since.elapsed() < patience
        {
            self.files.get_mut(file)?.incomplete = true;
            return None;
        }
        let hash = match &content {
            Ok(content) => Some(content.hash),
            Err(_) => Content::hash_of(file, limit).await,
        };
        self.files.get_mut(file)?.hash = hash;
        let is_whole = !matches!(&content, Err(Refusal::Incomplete | Refusal::Empty));
        if let Some(hash) = &hash
            && let Some(instead) = self.state.instead_of(&id.key(), hash, is_whole)
        {
            let instead = self.state.read(&instead).await;
            content = instead.map_err(|_| Refusal::NotKept);
        }
        match content {
            Ok(content) if speed == Speed::AtHand && !self.shared.has_code(&content.hash) => None,
            Ok(content) => self.change_to(file, id, content).await,
            Err(refusal) => self.refuse(file, refusal),
        }
    }

    /// The change that has a plugin consist of what it did before. Made to take effect it lasts, over a restart too, until
    /// the plugin's file changes; the next one leads back.
    ///
    /// # Errors
    /// There is no such plugin, or nothing that it was before, or that cannot be loaded.
    pub async fn roll_back(&mut self, key: &str) -> Result<Change, String> {
        let (file, id) = self.find(key)?;
        let lock = self.state.have_lock();
        lock.map_err(|error| format!("that cannot be kept: {error}"))?;
        let kept = self.state.of(key);
        if kept.disabled {
            return Err(format!("{key} is disabled"));
        }
        let known = self.files.get(&file);
        if known.is_some_and(File::is_settling) {
            return Err(format!(
                "{key} is just being replaced; try again in a moment"
            ));
        }
        // What serves is the last that could be served, also when the file cannot be any more and nothing does.
        let before = match self.present(&id) {
            Some(_) => kept.previous,
            None => kept.current,
        };
        let Some(previous) = before else {
            return Err(format!("{key} has not been anything else before"));
        };
        let content = self.state.read(&previous).await;
        let content =
            content.map_err(|error| format!("what {key} was before cannot be read: {error}"))?;
        let change = self.change_to(&file, id, content).await;
        change.ok_or_else(|| format!("{key} cannot be what it was before; the log says why"))
    }

    /// Has a plugin served no more, or again. It lasts over a restart, until the opposite is said.
    ///
    /// # Errors
    /// There is no such plugin, or that cannot be kept.
    pub fn set_disabled(&mut self, key: &str, disabled: bool) -> Result<(), String> {
        self.find(key)?;
        let mut kept = self.state.of(key);
        kept.disabled = disabled;
        let set = self.state.set(key, kept);
        set.map_err(|error| format!("that cannot be kept: {error}"))
    }

    /// What is loaded of the plugin of that name.
    ///
    /// # Errors
    /// There is no such plugin.
    pub fn loaded_of(&self, key: &str) -> Result<&Arc<Loaded>, String> {
        let (_, id) = self.find(key)?;
        let loaded = self.present(&id);
        loaded.ok_or_else(|| format!("{key} is not served"))
    }

    fn find(&self, key: &str) -> Result<(PathBuf, PluginId), String> {
        let is_it = |id: &&PluginId| id.key() == key;
        let mut files = self.files.iter();
        let found = files.find_map(|(file, known)| {
            let id = known.id.as_ref().ok().filter(is_it)?;
            Some((file.clone(), id.clone()))
        });
        found.ok_or_else(|| format!("there is no plugin {key:?}"))
    }

    /// The change that has a plugin consist of that.
    async fn change_to(&mut self, file: &Path, id: PluginId, content: Content) -> Option<Change> {
        let old = self.present(&id).cloned();
        if let Some(old) = &old
            && old.generation.hash == content.hash
        {
            self.set_outcome(file, Outcome::Served);
            return None;
        }
        let loaded = match &old {
            None => load(&self.shared, id, None, 1, &content).await,
            Some(old) => self.load_over(old, &content).await,
        };
        match loaded.and_then(|loaded| check_free(self.loaded.iter().map(AsRef::as_ref), loaded)) {
            Ok(new) => {
                let new = Arc::new(new);
                Some(match old {
                    Some(old) => Change::Replaced { old, new, content },
                    None => Change::Added(new, content),
                })
            }
            Err(refusal) => self.refuse(file, refusal),
        }
    }

    /// Loads what a plugin is to become. One that serves another path than before is another plugin: its sockets are not
    /// those that are open, to which the old code has to say farewell.
    async fn load_over(&self, old: &Loaded, content: &Content) -> Result<Loaded, Refusal> {
        let (plugin, number) = (&old.plugin, old.generation.number + 1);
        let id = || plugin.id().clone();
        let present = Some(plugin.clone());
        let loaded = load(&self.shared, id(), present, number, content).await?;
        let path = |of: &Loaded| Some(of.namespace.as_ref()?.sockets.path().to_owned());
        match path(old).is_none_or(|path_before| path(&loaded).as_ref() == Some(&path_before)) {
            true => Ok(loaded),
            false => load(&self.shared, id(), None, number, content).await,
        }
    }

    /// A change has taken effect.
    pub fn took_effect(&mut self, change: Change) {
        let (new, content) = match change {
            Change::Added(new, content) => {
                self.loaded.push(new.clone());
                (new, content)
            }
            Change::Replaced { old, new, content } => {
                for loaded in &mut self.loaded {
                    if Arc::ptr_eq(loaded, &old) {
                        *loaded = new.clone();
                    }
                }
                self.path_is_free();
                (new, content)
            }
            Change::Removed(old) => {
                self.loaded.retain(|loaded| !Arc::ptr_eq(loaded, &old));
                self.path_is_free();
                return;
            }
        };
        let id = new.plugin.id();
        let file = file_of(&self.folder, &id.key());
        let in_file = self.files.get(&file).and_then(|known| known.hash);
        self.state
            .served(&id.key(), &content.hash, content.bytes(), in_file);
        self.set_outcome(&file, Outcome::Served);
    }

    /// A change has not taken effect; what served before serves on.
    pub fn failed(&mut self, change: Change, refusal: Refusal) {
        if let Change::Added(loaded, _) | Change::Replaced { new: loaded, .. } = change {
            let file = file_of(&self.folder, &loaded.plugin.id().key());
            self.refuse(&file, refusal);
        }
    }

    /// The settings are others: what may be served with them is looked at again.
    pub fn reconsider(&mut self) {
        self.try_again(Refusal::depends_on_settings);
    }

    /// A file that is another's rival may have its path or name now.
    fn path_is_free(&mut self) {
        self.try_again(|refusal| matches!(refusal, Refusal::Taken { .. }));
    }

    fn try_again(&mut self, which: impl Fn(&Refusal) -> bool) {
        for known in self.files.values_mut() {
            if known.refusal().is_some_and(&which) {
                known.outcome = Outcome::Settling;
            }
        }
    }

    fn refuse(&mut self, file: &Path, refusal: Refusal) -> Option<Change> {
        if !self.files.get(file).is_some_and(File::is_settling) {
            // It is what the operator wanted instead of what is in the file, of which that says nothing.
            let file = file.strip_prefix(&self.folder).unwrap_or(file);
            let line = format!("{} stays as it is: {refusal}", file.display());
            let plugin = file.to_string_lossy();
            tracing::warn!(plugin = one_line(&plugin), "{}", one_line(&line));
            return None;
        }
        let refusal = Arc::new(refusal);
        self.set_outcome(file, Outcome::Refused(refusal));
        None
    }

    fn set_outcome(&mut self, file: &Path, outcome: Outcome) {
        let Some(known) = self.files.get_mut(file) else {
            return;
        };
        if let Outcome::Refused(refusal) = &outcome {
            let serves = known.id.as_ref().ok();
            let serves = serves.and_then(|id| self.loaded.iter().find(|it| it.plugin.id() == id));
            let rest = match serves {
                Some(_) => "; what was there before serves on",
                None => "",
            };
            let file = file.strip_prefix(&self.folder).unwrap_or(file);
            let line = format!("refused {}: {refusal}{rest}", file.display());
            tracing::warn!(
                plugin = one_line(&file.to_string_lossy()),
                "{}",
                one_line(&line)
            );
            known.since = Instant::now();
            known.refusals = known.refusals.saturating_add(1);
        }
        known.outcome = outcome;
    }

    /// What is loaded of a plugin.
    fn present(&self, id: &PluginId) -> Option<&Arc<Loaded>> {
        self.loaded.iter().find(|loaded| loaded.plugin.id() == id)
    }
}
