//! What the server itself keeps of its plugins over a restart: which are disabled, which are rolled back, and what they
//! consisted of before.
//!
//! `plugins.json` names, for each plugin, the files it was made of by their hashes; `files/HASH.wasm` are these files.
//! Whoever writes there holds the lock on `lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, TryLockError};
use std::io::{self, ErrorKind::NotADirectory, ErrorKind::NotFound, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::load::{Content, Refusal};

/// The file in the folder that says it.
const NAME: &str = "plugins.json";
/// The file whose lock one server has, as each writes all that it knows: with two, what the other has written would go.
const LOCK: &str = "lock";

/// The state, and the folder where it is kept.
pub(super) struct State {
    folder: PathBuf,
    /// None: the folder is not this server's to write to, or not yet.
    lock: Option<fs::File>,
    plugins: BTreeMap<String, Kept>,
}

/// What is kept of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// It is not to be served.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) disabled: bool,
    /// The hash of what serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// The hash of what served before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    /// The hash of what its file consists of, and what is not to be served, because it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl State {
    /// What is kept in `folder`, which is made when it is missing. When it cannot be made, or is another server's, the log
    /// says so, and nothing more is kept over a restart before it can be, or the other has ended.
    ///
    /// # Errors
    /// What was kept is there and cannot be read: what is disabled would be served.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let lock = lock(folder).inspect_err(|error| {
            let folder = folder.display();
            tracing::warn!("nothing is kept of plugins over a restart: {folder}: {error}");
        });
        let plugins = read(folder).with_context(|| {
            format!(
                "it is not known which plugins are disabled or rolled back: {} cannot be read; mend it, or delete it to have \
                 all of them served",
                folder.join(NAME).display()
            )
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            lock: lock.ok(),
            plugins,
        })
    }

    /// What is kept of a plugin.
    pub(super) fn of(&self, key: &str) -> Kept {
        self.plugins.get(key).cloned().unwrap_or_default()
    }

    /// Keeps this of a plugin instead.
    ///
    /// # Errors
    /// The disk does not take it, or the folder is another server's.
    pub(super) fn set(&mut self, key: &str, kept: Kept) -> io::Result<()> {
        self.have_lock()?;
        if self.plugins.get(key) == Some(&kept) {
            return Ok(());
        }
        let mut plugins = self.plugins.clone();
        plugins.insert(key.to_owned(), kept);
        self.save(plugins)
    }

    /// Forgets the plugins whose files are gone, but not those that are disabled: they would not be if they came again.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str, &Kept) -> bool) {
        let stays = |key: &String, kept: &Kept| kept.disabled || is_there(key, kept);
        if self.plugins.iter().all(|(key, kept)| stays(key, kept)) {
            return;
        }
        let forgotten = self.have_lock().and_then(|()| {
            let mut plugins = self.plugins.clone();
            plugins.retain(|key, kept| stays(key, kept));
            self.save(plugins)?;
            self.tidy()
        });
        if let Err(error) = forgotten {
            tracing::warn!(
                "cannot forget plugins that are gone: {}: {error}",
                self.folder.display()
            );
        }
    }

    /// The hash of what serves instead of a file that consists of that, because it was rolled back. With anything else in
    /// the file the rollback is over, also when it is not served; but not with what may be a part of it.
    pub(super) fn instead_of(
        &mut self,
        key: &str,
        in_file: &blake3::Hash,
        is_whole: bool,
    ) -> Option<String> {
        let mut kept = self.of(key);
        let rejected = kept.rejected.take()?;
        if rejected == in_file.to_hex().as_str() {
            return kept.current;
        }
        if is_whole && let Err(error) = self.set(key, kept) {
            tracing::warn!(
                "the rollback of {key} cannot be ended: {}: {error}",
                self.folder.display()
            );
        }
        None
    }

    /// Writes it down first, so that nothing counts that would be gone after a restart.
    fn save(&mut self, plugins: BTreeMap<String, Kept>) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&plugins)?;
        write(&self.folder.join(NAME), &text)?;
        self.plugins = plugins;
        Ok(())
    }

    /// A plugin is served by these bytes from now on; what was there before is kept for a way back.
    /// `in_file` is what its file consists of, which is something else when it was rolled back.
    pub(super) fn served(
        &mut self,
        key: &str,
        hash: &blake3::Hash,
        bytes: &[u8],
        in_file: Option<blake3::Hash>,
    ) {
        let written = self.have_lock().and_then(|()| {
            let rejected = in_file.filter(|in_file| in_file != hash);
            let hash = hash.to_hex().to_string();
            let mut kept = self.of(key);
            kept.rejected = rejected.map(|hash| hash.to_hex().to_string());
            if kept.current.as_ref() != Some(&hash) {
                kept.previous = kept.current.replace(hash.clone());
            }
            let file = self.file(&hash);
            if !file.exists() {
                write(&file, bytes)?;
            }
            self.set(key, kept)?;
            self.tidy()
        });
        if let Err(error) = written {
            tracing::warn!(
                "{key} cannot be rolled back later: {}: {error}",
                self.folder.display()
            );
        }
    }

    /// What is kept under that hash.
    ///
    /// # Errors
    /// It is not there any more, or not what it was.
    pub(super) async fn read(&self, hash: &str) -> Result<Content, Refusal> {
        let content = Content::read(&self.file(hash), u64::MAX - 1).await?;
        match content.hash.to_hex().as_str() == hash {
            true => Ok(content),
            false => Err(Refusal::Incomplete),
        }
    }

    /// Only who has the lock writes or deletes anything. When another server has ended, what it has left is taken over.
    ///
    /// # Errors
    /// It is not to be had.
    pub(super) fn have_lock(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            let lock = lock(&self.folder)?;
            self.plugins = read(&self.folder)?;
            self.lock = Some(lock);
        }
        Ok(())
    }

    /// The file with that hash.
    fn file(&self, hash: &str) -> PathBuf {
        self.folder.join("files").join(format!("{hash}.wasm"))
    }

    /// Deletes the files that nothing leads to any more.
    fn tidy(&self) -> io::Result<()> {
        let kept = self.plugins.values();
        let used: BTreeSet<_> = kept
            .flat_map(|kept| [&kept.current, &kept.previous])
            .flatten()
            .map(|hash| self.file(hash))
            .collect();
        for entry in fs::read_dir(self.folder.join("files"))? {
            let path = entry?.path();
            if !used.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What is kept in a folder.
fn read(folder: &Path) -> io::Result<BTreeMap<String, Kept>> {
    match fs::read(folder.join(NAME)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        // Also where a folder should be there is something else.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Makes the folder, and has it be this server's until the file is dropped, or the server ends in whatever way.
fn lock(folder: &Path) -> io::Result<fs::File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder.join("files"))?;
    let lock = fs::File::create(folder.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other(
            "another server keeps its plugins there; name another folder (state)",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Replaces a file as a whole: a crash leaves the old one or the new one. A disk that is full gets back what was written.
fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    let written = fs::File::create(&unfinished).and_then(|mut written| {
        written.write_all(content)?;
        written.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&unfinished, file));
    if replaced.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_what_served_before_is_kept_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        let files = || fs::read_dir(folder.path().join("files")).unwrap().count();
        let hash = |content: &[u8]| blake3::hash(content);
        for content in [b"one".as_slice(), b"two", b"two", b"three"] {
            state.served("chat", &hash(content), content, None);
        }
        assert_eq!(files(), 2);
        let kept = State::open(folder.path()).unwrap().of("chat");
        assert_eq!(kept.current, Some(hash(b"three").to_string()));
        assert_eq!(kept.previous, Some(hash(b"two").to_string()));
        let previous = state.file(&kept.previous.unwrap());
        assert_eq!(fs::read(previous).unwrap(), b"two");
        // Another plugin that consists of the same keeps it alive.
        state.served("talk", &hash(b"two"), b"two", None);
        state.served("chat", &hash(b"four"), b"four", None);
        assert_eq!(files(), 3);
    }

    #[test]
    fn p6_a_state_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{").unwrap();
        let Err(error) = State::open(folder.path()) else {
            panic!("it is opened");
        };
        assert!(format!("{error:#}").contains("plugins.json cannot be read"));
        assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), b"{");
    }
}
