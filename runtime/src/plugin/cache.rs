//! Compiled code that outlives the process, so that a restart with unchanged plugins compiles nothing.
//!
//! Compiled code is trusted as much as the host itself. So only what the host has written is ever read: the folder
//! is the owner's alone, each file begins with the hash of the rest, and its name holds the hash of the component it
//! was made from and of everything about the engine that the code depends on.

use std::fs::{self, DirEntry, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

const HASH: usize = blake3::OUT_LEN;

/// How the name of a file ends that is still being written.
const UNFINISHED: &str = "unfinished";

/// The bits of a folder's mode that let others write to it.
const OTHERS_WRITE: u32 = 0o022;

/// The bit of a folder's mode that makes it one for everybody, as /tmp is.
const FOR_EVERYBODY: u32 = 0o1000;

/// A folder of compiled components.
#[derive(Debug)]
pub struct Cache {
    /// None: the folder is not to be trusted or not to be had, and everything is compiled.
    folder: Option<PathBuf>,
    max_bytes: u64,
    engine: Engine,
    engine_hash: u64,
}

impl Cache {
    /// The cache in `folder`, which is made when it is missing. When it cannot be used, that is said in the log and
    /// nothing is cached. Over `max_bytes`, what was not used for longest goes.
    #[must_use]
    pub fn new(folder: &Path, max_bytes: u64, engine: &Engine) -> Self {
        let usable = prepare(folder);
        if let Err(error) = &usable {
            tracing::warn!(
                "compiled code is not cached: {}: {error}; name another folder in `cache`, which is made when it is missing",
                folder.display()
            );
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            folder: usable.is_ok().then(|| folder.to_owned()),
            max_bytes,
            engine: engine.clone(),
            engine_hash: hasher.finish(),
        }
    }

    /// One that keeps nothing.
    #[must_use]
    pub fn off(engine: &Engine) -> Self {
        Self {
            folder: None,
            max_bytes: 0,
            engine: engine.clone(),
            engine_hash: 0,
        }
    }

    /// The component whose file has that hash, when its code is there. Blocks.
    #[must_use]
    pub fn get(&self, hash: &blake3::Hash) -> Option<Component> {
        self.read(&self.path(self.folder.as_deref()?, hash))
    }

    /// Whether the code of the component whose file has that hash seems to be there.
    #[must_use]
    pub fn has(&self, hash: &blake3::Hash) -> bool {
        let folder = self.folder.as_deref();
        folder.is_some_and(|folder| self.path(folder, hash).exists())
    }

    /// Keeps the code of the component whose file has that hash, and gives the component. Blocks.
    ///
    /// # Errors
    /// It does not fit this engine: its memory, for instance, is larger than an instance's may be.
    pub fn put(&self, hash: &blake3::Hash, code: &[u8]) -> wasmtime::Result<Component> {
        if let Some(folder) = &self.folder
            && let Err(error) = self.store(folder, &self.path(folder, hash), code)
        {
            tracing::warn!(
                "cannot cache compiled code in {}: {error:#}",
                folder.display()
            );
        }
        deserialize(&self.engine, code)
    }

    fn path(&self, folder: &Path, hash: &blake3::Hash) -> PathBuf {
        folder.join(format!("{hash}-{:016x}", self.engine_hash))
    }

    fn read(&self, path: &Path) -> Option<Component> {
        let content = fs::read(path).ok()?;
        let (hash, code) = content.split_at_checked(HASH)?;
        if blake3::hash(code).as_bytes() != hash {
            tracing::warn!("{} is damaged and is made anew", path.display());
            return None;
        }
        // The time of last use decides what goes first; not knowing it is no harm.
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        deserialize(&self.engine, code)
            .inspect_err(|error| tracing::warn!("{} is made anew: {error:#}", path.display()))
            .ok()
    }

    fn store(&self, folder: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(format!("{}.{UNFINISHED}", std::process::id()));
        let written = write(&unfinished, code).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            // A disk that is full needs the room.
            let _ = fs::remove_file(&unfinished);
        }
        written.and_then(|()| self.evict(folder, path))
    }

    /// Deletes what was not used for longest until the rest is within the bound. What was just stored stays, and so does
    /// what no cache has made.
    fn evict(&self, folder: &Path, stored: &Path) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in own_files(folder)? {
            let entry = entry?;
            // Other servers may use the same folder, and delete or rename what is theirs.
            let Some(metadata) = unless_gone(entry.metadata())? else {
                continue;
            };
            if entry.path() != stored {
                entries.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        entries.sort();
        let stored = unless_gone(fs::metadata(stored))?.map_or(0, |it| it.len());
        let mut total = stored + entries.iter().map(|(_, len, _)| len).sum::<u64>();
        for (_, len, path) in entries {
            if total <= self.max_bytes {
                break;
            }
            unless_gone(fs::remove_file(path))?;
            total -= len;
        }
        Ok(())
    }
}

/// The files in a folder that a cache has made.
fn own_files(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    Ok(fs::read_dir(folder)?.filter(|entry| entry.as_ref().map_or(true, is_own)))
}

/// Whether a cache has made it, by its name: see [`Cache::path`] and [`Cache::store`].
fn is_own(entry: &DirEntry) -> bool {
    let is_hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    let name = entry.file_name();
    let Some((hash, rest)) = name.to_str().and_then(|name| name.split_once('-')) else {
        return false;
    };
    let engine = match rest.split_once('.') {
        Some((engine, ending)) if ending.ends_with(UNFINISHED) => engine,
        _ => rest,
    };
    is_hex(hash, 2 * HASH) && is_hex(engine, 16)
}

/// None when somebody else has moved or deleted the file meanwhile.
fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Writes code behind its hash, for its owner alone.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.write_all(code)
}

/// Makes the folder, and checks that nobody else can put anything into it. One that is not for compiled code alone stays as
/// it is: it may have been named by mistake.
fn prepare(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let metadata = fs::metadata(folder)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(
            "it belongs to another user, who could put code there",
        ));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        let mut entries = fs::read_dir(folder)?;
        let is_of_others = !entries.all(|entry| entry.is_ok_and(|entry| is_own(&entry)));
        if is_of_others || metadata.mode() & FOR_EVERYBODY != 0 {
            return Err(io::Error::other(
                "others can write to it, and it is not for compiled code alone",
            ));
        }
        fs::set_permissions(folder, Permissions::from_mode(metadata.mode() & 0o700))?;
        tracing::warn!(
            "{} was writable for others; it is not any more, and is emptied",
            folder.display()
        );
        for entry in own_files(folder)? {
            fs::remove_file(entry?.path())?;
        }
    }
    Ok(())
}

/// The one `unsafe` of the host.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must have come from `Engine::precompile_component` and be unchanged. They come from the process
    // that compiles, which is this program, or are what this module wrote of them: the folder can be written by the
    // host's own user alone, and the hash that was stored with them fits. Code of another version of Wasmtime or of
    // another configuration is refused by `deserialize` itself.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    /// Whether the code was there already. It is from now on.
    fn load(cache: &Cache) -> bool {
        let hash = blake3::hash(COMPONENT);
        let cached = cache.get(&hash).is_some();
        if !cached {
            let code = cache.engine.precompile_component(COMPONENT).unwrap();
            cache.put(&hash, &code).unwrap();
        }
        cached
    }

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("tulpar-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut entries = fs::read_dir(folder).unwrap();
        let path = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        path
    }

    #[test]
    fn what_was_compiled_once_is_not_compiled_again() {
        let folder = scratch("again");
        let engine = Engine::default();
        let fresh = || Cache::new(&folder, u64::MAX, &engine);
        assert!(!load(&fresh()));
        assert!(load(&fresh()));
    }

    #[test]
    fn damaged_code_is_never_run() {
        let folder = scratch("damaged");
        let engine = Engine::default();
        let cache = Cache::new(&folder, u64::MAX, &engine);
        load(&cache);
        let path = only_file(&folder);
        let whole = fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() - 1], &whole[..10], &[]] {
            fs::write(&path, broken).unwrap();
            assert!(!load(&cache));
            assert!(load(&cache));
        }
    }

    #[test]
    fn a_folder_that_others_could_write_to_is_emptied() {
        let folder = scratch("open");
        let engine = Engine::default();
        load(&Cache::new(&folder, u64::MAX, &engine));
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let cache = Cache::new(&folder, u64::MAX, &engine);
        assert!(!load(&cache));
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_write_to_stays_as_it_is_when_it_holds_anything_else() {
        let engine = Engine::default();
        for (name, mode) in [("@root.redb", 0o775), ("-", 0o777), ("", 0o1777)] {
            let folder = scratch("foreign");
            load(&Cache::new(&folder, u64::MAX, &engine));
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            if !name.is_empty() {
                fs::write(folder.join(name), "").unwrap();
            }
            let names = || {
                let entries = fs::read_dir(&folder).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name());
                names.collect::<BTreeSet<_>>()
            };
            let before = names();
            let cache = Cache::new(&folder, u64::MAX, &engine);
            assert!(!load(&cache));
            assert!(!load(&cache), "it is not used");
            assert_eq!(names(), before);
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn the_bound_holds() {
        let folder = scratch("bound");
        let engine = Engine::default();
        let cache = Cache::new(&folder, 1, &engine);
        load(&cache);
        let older = only_file(&folder).with_file_name(format!("{:064x}-{:016x}", 1, 1));
        let unfinished = older.with_extension("1.unfinished");
        fs::rename(only_file(&folder), &older).unwrap();
        fs::copy(&older, &unfinished).unwrap();
        load(&cache);
        assert!(!older.exists() && !unfinished.exists());
        only_file(&folder);
    }

    #[test]
    fn what_no_cache_has_made_is_never_deleted() {
        let folder = scratch("mixed");
        let engine = Engine::default();
        let cache = Cache::new(&folder, 1, &engine);
        let (hash, key) = ("0".repeat(64), "0".repeat(16));
        let foreign = [
            "tulpar.toml".to_owned(),
            "older.unfinished".to_owned(),
            hash.clone(),
            format!("{hash}-{key}0"),
            format!("{hash}-{key}.wasm"),
            format!("{}-{key}", "g".repeat(64)),
        ];
        for name in &foreign {
            fs::write(folder.join(name), "theirs").unwrap();
        }
        load(&cache);
        for name in &foreign {
            assert!(folder.join(name).exists(), "{name}");
        }
    }
}
