//! The files of the stores: their names, and how they are made and opened.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, Error, ReadableDatabase, TableDefinition};

/// The entries: the bucket's name, a NUL, and the key; and the value.
pub(super) const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");

/// What is counted, by name.
pub(super) const FIGURES: TableDefinition<&str, u64> = TableDefinition::new("figures");

/// The figure of what the entries take, as the limit counts it.
pub(super) const BYTES: &str = "bytes";

/// The figure of the layout of all this.
const VERSION: &str = "version";

/// The layout that this code reads and writes.
const CURRENT_VERSION: u64 = 1;

/// Memory for pages, of each open store. The operating system caches the file as well; this saves the system calls for
/// the upper levels of the tree and holds what a commit is about to write, of which half of it may be.
const CACHE_BYTES: usize = 4 << 20;

/// The file of the root folder's store. No tenant has an `@` in its name.
const ROOT: &str = "@root.redb";

/// The name of a tenant's file; none when no tenant can be called that.
pub(super) fn name(tenant: Option<&str>) -> Option<String> {
    let Some(tenant) = tenant else {
        return Some(ROOT.to_owned());
    };
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.~".contains(&c);
    if !(1..=64).contains(&tenant.len()) || !tenant.bytes().all(fits) {
        return None;
    }
    let mut name = String::with_capacity(tenant.len() + ROOT.len());
    for c in tenant.chars() {
        // Some file systems do not tell Acme from acme. No tenant has a `+` in its name.
        if c.is_ascii_uppercase() {
            name.push('+');
        }
        name.push(c.to_ascii_lowercase());
    }
    Some(name + ".redb")
}

/// Opens the database, and makes it when there is none. All of it is read and checked: the database trusts a file that
/// was closed properly, and panics over what damage has done to it since.
pub(super) fn open(path: &Path) -> Result<Database, Error> {
    if !path.try_exists()? {
        create(path)?;
    }
    let file = File::options().read(true).write(true).open(path)?;
    if file.metadata()?.len() == 0 {
        // The database would begin anew in it.
        return Err(Error::Corrupted("the file is empty".to_owned()));
    }
    let database = open_file(path, file)?;
    let figures = database.begin_read()?.open_table(FIGURES)?;
    match figures.get(VERSION)?.map(|version| version.value()) {
        Some(CURRENT_VERSION) => Ok(database),
        version => Err(Error::Corrupted(format!(
            "its layout has the version {version:?}, and {CURRENT_VERSION} is expected"
        ))),
    }
}

/// Makes the file under another name first. What a crash or a full disk leaves unfinished there is begun anew, and no
/// store that holds anything is ever taken for unfinished.
fn create(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let unfinished = path.with_added_extension("unfinished");
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&unfinished)
    };
    let database = match open_file(path, open()?) {
        Err(Error::DatabaseAlreadyOpen) => return Err(Error::DatabaseAlreadyOpen),
        Err(_) => {
            fs::remove_file(&unfinished)?;
            open_file(path, open()?)?
        }
        Ok(database) => database,
    };
    if path.try_exists()? {
        // Another process was faster.
        return Ok(());
    }
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction
        .open_table(FIGURES)?
        .insert(VERSION, CURRENT_VERSION)?;
    transaction.commit()?;
    database.close()?;
    fs::rename(&unfinished, path)?;
    // The name has to be on the disk as well.
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn open_file(path: &Path, file: File) -> Result<Database, Error> {
    let backend = FileBackend::new(file)?;
    #[cfg(test)]
    let backend = tests::Disk::new(path, backend);
    #[cfg(not(test))]
    let _ = path;
    Ok(Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(backend)?)
}

/// Makes the folder and those above it, for the owner alone, so that they are still there after a power loss.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above != Path::new("") => above.to_owned(),
        _ => PathBuf::from("."),
    };
    make_folder(&above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;
    use std::sync::{Arc, Mutex};

    use redb::{BackendError, StorageBackend};

    use super::super::tests::LIMITS;
    use super::super::{StoreError, Stores};
    use super::*;

    /// The stores whose disk is full.
    static FULL: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

    /// A file on a disk that can be full.
    #[derive(Debug)]
    pub(super) struct Disk {
        path: PathBuf,
        file: FileBackend,
    }

    impl Disk {
        pub(super) fn new(path: &Path, file: FileBackend) -> Self {
            let path = path.to_owned();
            Self { path, file }
        }

        fn has_room(&self) -> io::Result<()> {
            if FULL.lock().unwrap().contains(&self.path) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.has_room()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.has_room()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }

        fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
            self.file.try_lock_range(from, to)
        }

        fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
            self.file.unlock_range(from, to)
        }

        fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
            self.file.query_lock_range(from, to)
        }
    }

    fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, StoreError>, file: &Path) {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_folder_and_the_files_are_the_owners() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let stores = Stores::in_folder(&folder, LIMITS);
        assert!(!scratch.path().join("a").exists());
        stores.of(None).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join(ROOT)), 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_file_is_an_error_of_its_tenant_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acme.redb");
        let crashed = {
            let stores = Stores::in_folder(folder.path(), LIMITS);
            let store = stores.of(Some("acme")).await.unwrap();
            let entries = (0..500).map(|i| (format!("{i}"), vec![7; 1000])).collect();
            store.set_many("b", entries).await.unwrap();
            fs::read(&file).unwrap()
        };
        let whole = fs::read(&file).unwrap();
        for damage in [
            &|content: &mut Vec<u8>| content.clear() as _,
            &|content: &mut Vec<u8>| content.truncate(content.len() / 2) as _,
            &|content: &mut Vec<u8>| content[..4096].fill(0) as _,
            &|content: &mut Vec<u8>| *content = b"something else".repeat(1000),
            &|content: &mut Vec<u8>| content[4096..].fill(0xff) as _,
        ] as [&dyn Fn(&mut Vec<u8>); 5]
        {
            let mut content = whole.clone();
            damage(&mut content);
            fs::write(&file, content).unwrap();
            let stores = Stores::in_folder(folder.path(), LIMITS);
            assert_corrupt(stores.of(Some("acme")).await, &file);
            assert_corrupt(stores.of(Some("acme")).await, &file);
            let other = stores.of(None).await.unwrap();
            other.set("b", "k", Vec::new()).await.unwrap();
            // Once the file is restored, no restart is needed.
            fs::write(&file, &whole).unwrap();
            let store = stores.of(Some("acme")).await.unwrap();
            assert_eq!(store.get("b", "499").await.unwrap(), Some(vec![7; 1000]));
        }
        // A single byte: an error, or nothing that matters. Also in what a crash leaves.
        for content in [&whole, &crashed] {
            for at in (0..content.len()).step_by(content.len() / 50) {
                let mut damaged = content.clone();
                damaged[at] ^= 0xff;
                fs::write(&file, damaged).unwrap();
                match Stores::in_folder(folder.path(), LIMITS)
                    .of(Some("acme"))
                    .await
                {
                    Err(error) => assert_corrupt::<()>(Err(error), &file),
                    Ok(store) => {
                        for i in 0..500 {
                            let value = store.get("b", &i.to_string()).await.unwrap();
                            assert!(value.is_some_and(|v| v == [7; 1000]), "byte {at}");
                        }
                    }
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damage_while_it_is_open_is_an_error() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.redb");
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let store = stores.of(Some("acme")).await.unwrap();
        // More than the cache holds.
        for bucket in 0..12 {
            let entries = (0..900).map(|i| (format!("{i}"), vec![7; 1000])).collect();
            store.set_many(&bucket.to_string(), entries).await.unwrap();
        }
        let file = File::options().write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        file.write_all_at(&vec![0xff; len - 4096], 4096).unwrap();
        let mut errors = 0;
        for bucket in 0..12 {
            for key in 0..900 {
                let got = store.get(&bucket.to_string(), &key.to_string()).await;
                errors += usize::from(got.is_err());
            }
        }
        assert!(errors > 0);
        assert_corrupt(store.set("b", "k", Vec::new()).await, &path);
        let other = stores.of(None).await.unwrap();
        other.set("b", "k", Vec::new()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_a_later_layout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ROOT);
        drop(open(&path).unwrap());
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(FIGURES)
            .unwrap()
            .insert(VERSION, CURRENT_VERSION + 1)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let refused = Stores::in_folder(folder.path(), LIMITS).of(None).await;
        assert_corrupt(refused, &path);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unfinished_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = folder.path().join("@root.redb.unfinished");
        for content in [&b""[..], &[0; 40_000], b"not finished"] {
            fs::write(&unfinished, content).unwrap();
            let store = Stores::in_folder(folder.path(), LIMITS)
                .of(None)
                .await
                .unwrap();
            store.set("b", "k", Vec::new()).await.unwrap();
            assert!(!unfinished.exists());
            drop(store);
            fs::remove_file(folder.path().join(ROOT)).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_full_disk_is_an_error_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ROOT);
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let fill = |full: bool| {
            let mut disks = FULL.lock().unwrap();
            if full {
                disks.insert(path.clone());
            } else {
                disks.remove(&path);
            }
        };
        // It may be full already when the file is made.
        fill(true);
        let refused = stores.of(None).await.unwrap_err();
        assert!(refused.is_fault() && matches!(refused, StoreError::Io { .. }));
        fill(false);
        let store = stores.of(None).await.unwrap();
        for round in 0..10 {
            store
                .set("b", &format!("k{round}"), vec![round])
                .await
                .unwrap();
            fill(true);
            let writes: Vec<_> = (0..20)
                .map(|i| {
                    let store: Arc<_> = store.clone();
                    tokio::spawn(async move { store.set("b", &i.to_string(), vec![0; 9]).await })
                })
                .collect();
            for _ in 0..20 {
                // Reading may still go, and finds no damage.
                if let Err(error) = store.get("b", "k0").await {
                    assert!(matches!(error, StoreError::Io { .. }), "{error}");
                }
            }
            for write in writes {
                let error = write.await.unwrap().unwrap_err();
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
            }
            fill(false);
            for known in 0..=round {
                let value = store.get("b", &format!("k{known}")).await.unwrap();
                assert_eq!(value, Some(vec![known]));
            }
        }
        store.set("b", "last", Vec::new()).await.unwrap();
        let counted = store.bytes().await.unwrap();
        drop((store, stores));
        let store = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        assert_eq!(store.bytes().await.unwrap(), counted);
    }
}
