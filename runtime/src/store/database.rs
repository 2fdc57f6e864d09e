//! The database of a store: opened when it is needed, and again after a failure.
//!
//! A database that has met an error of the disk refuses everything from then on, and one that is damaged may panic.
//! Either way it is closed and opened again, which checks all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, Error, ReadOnlyTable, ReadableDatabase};

use super::StoreError;
use super::file::{self, ENTRIES};

/// For how long a failure to open answers those who come next. An open reads the whole file, and a guest can ask often.
const RETRY_AFTER: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });

/// How long the last plugin of a tenant may take to let go of its store, when another one comes.
const CLOSES_IN: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 1000 });

/// The table of entries as readers see it.
pub(super) type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A database that may be closed at the moment.
pub(super) struct Handle {
    pub(super) file: Arc<Path>,
    /// None until it is opened, and while it is opened again.
    database: RwLock<Option<Database>>,
    /// It has failed and has to be opened again.
    broken: AtomicBool,
    /// Held by the one that opens; the last failure to do so.
    opening: Arc<tokio::sync::Mutex<Option<(Instant, StoreError)>>>,
    /// Held by the one that reads as much as it takes: a tenant's calls, of which there may be many, take one thread.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Handle {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.into(),
            database: RwLock::default(),
            broken: AtomicBool::new(false),
            opening: Arc::default(),
            reading: Arc::default(),
        }
    }

    /// Reads one entry, on this thread: that takes about 2 µs, and handing it over to another about 20.
    pub(super) async fn peek<T>(
        self: &Arc<Self>,
        work: impl Fn(&Entries) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        loop {
            self.ready().await?;
            let read = |database: &Database| work(&database.begin_read()?.open_table(ENTRIES)?);
            if let Some(read) = self.read_with(read) {
                return read;
            }
        }
    }

    /// Reads as much as it takes, on a thread for blocking work: a long listing may take tens of milliseconds. One after the
    /// other, also when whoever asked has left meanwhile.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Entries) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.reading.clone().lock_owned().await;
        self.on_pool(move |database| {
            let _turn = &turn;
            work(&database.begin_read()?.open_table(ENTRIES)?)
        })
        .await
    }

    pub(super) async fn on_pool<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        let handle = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            loop {
                match handle.read_with(&work) {
                    Some(read) => return read,
                    None => handle.open()?,
                }
            }
        });
        read.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Works with the database; none when it is not open. Whatever error it gives, it is opened again afterwards.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Error>,
    ) -> Option<Result<T, StoreError>> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref()?;
        if self.broken.load(Ordering::Acquire) {
            return None;
        }
        let error = match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(Ok(done)) => return Some(Ok(done)),
            Ok(Err(error)) => StoreError::of_database(&self.file, &error),
            Err(panic) => StoreError::of_panic(&self.file, &*panic),
        };
        self.broken.store(true, Ordering::Release);
        tracing::error!("{error}");
        Some(Err(error))
    }

    /// The same for reading, which can be done again when it was somebody else's failure that the database refuses it
    /// for. A write cannot: it may have happened.
    fn read_with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Error>,
    ) -> Option<Result<T, StoreError>> {
        let read = self.with(|database| match work(database) {
            Err(Error::PreviousIo) => Ok(None),
            read => read.map(Some),
        });
        let read = read?.transpose();
        if read.is_none() {
            self.broken.store(true, Ordering::Release);
        }
        read
    }

    /// Opens the database when it is not open, on a thread for blocking work.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), StoreError> {
        if self.is_open() {
            return Ok(());
        }
        // Waiting here and not in the pool: its threads are for all tenants.
        let mut failed = self.opening.clone().lock_owned().await;
        if self.is_open() {
            return Ok(());
        }
        let handle = self.clone();
        tokio::task::spawn_blocking(move || handle.open_unless_failed(&mut failed))
            .await
            .unwrap_or_else(|_| Err(self.stopped()))
    }

    /// The same on this thread, which must be one for blocking work.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        self.open_unless_failed(&mut self.opening.blocking_lock())
    }

    fn is_open(&self) -> bool {
        !self.broken.load(Ordering::Acquire)
            && self
                .database
                .try_read()
                .is_ok_and(|database| database.is_some())
    }

    fn open_unless_failed(
        &self,
        failed: &mut Option<(Instant, StoreError)>,
    ) -> Result<(), StoreError> {
        if self.is_open() {
            return Ok(());
        }
        if let Some((at, error)) = failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        let set = |database| {
            let mut place = self
                .database
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, database)
        };
        let old = set(None);
        self.broken.store(false, Ordering::Release);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            drop(old);
            self.open_file()
        }));
        let error = match opened {
            Ok(Ok(database)) => {
                set(Some(database));
                if failed.take().is_some() {
                    tracing::info!("the store {} works again", self.file.display());
                }
                return Ok(());
            }
            Ok(Err(error)) => StoreError::of_database(&self.file, &error),
            Err(panic) => StoreError::of_panic(&self.file, &*panic),
        };
        // Once, and not at every try.
        if failed.as_ref().is_none_or(|(_, last)| *last != error) {
            tracing::error!("{error}");
        }
        *failed = Some((Instant::now(), error.clone()));
        Err(error)
    }

    /// Opens the file, which the one that had it before may just be closing.
    fn open_file(&self) -> Result<Database, Error> {
        let until = Instant::now() + CLOSES_IN;
        loop {
            match file::open(&self.file) {
                Err(Error::DatabaseAlreadyOpen) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
    }

    pub(super) fn stopped(&self) -> StoreError {
        StoreError::io(&self.file, "the server is stopping")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn long_reads_take_one_thread_also_when_nobody_waits_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let handle = Arc::new(Handle::new(&folder.path().join("store")));
        let (begun, busy) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let read = || {
            let (handle, begun, busy) = (handle.clone(), begun.clone(), busy.clone());
            tokio::spawn(async move {
                handle
                    .read(move |_| {
                        assert_eq!(busy.fetch_add(1, Ordering::Relaxed), 0);
                        begun.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(20));
                        busy.fetch_sub(1, Ordering::Relaxed);
                        Ok(())
                    })
                    .await
            })
        };
        let left = read();
        while begun.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        left.abort();
        for one in [(); 10].map(|()| read()) {
            one.await.unwrap().unwrap();
        }
    }
}
