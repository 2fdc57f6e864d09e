//! The waiting writes of a store, of which one commit takes all there are.
//!
//! A commit costs a wait for the disk, whatever it holds. So while one is under way, the next writes gather. The thread
//! that commits comes from the pool for blocking work, and goes back when nothing waits: an idle tenant has none.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::change::{Change, Changes};
use super::database::Handle;
use super::{Limits, StoreError};

/// What may wait for a commit of one store, in bytes; a single larger write waits alone. It bounds what one commit
/// holds in memory and how long it takes.
pub(super) const QUEUE_BYTES: usize = 4 << 20;

/// The writes of one store.
pub(super) struct Queue {
    database: Arc<Handle>,
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// The bytes that there is still room for.
    room: Arc<Semaphore>,
    #[cfg(test)]
    commits: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    writes: Vec<Write>,
    /// Whether a thread is at work, or has been asked for.
    running: bool,
}

struct Write {
    change: Change,
    answer: oneshot::Sender<Result<u64, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl Queue {
    pub(super) fn new(database: Arc<Handle>, limits: Limits) -> Self {
        Self {
            database,
            limits,
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            #[cfg(test)]
            commits: AtomicU64::new(0),
        }
    }

    /// Has a write committed. Dropped before there is room for it in the queue, it does not happen; after that it does.
    pub(super) async fn write(self: &Arc<Self>, change: Change) -> Result<u64, StoreError> {
        self.database.ready().await?;
        let bytes = change.bytes().min(QUEUE_BYTES);
        let room = self.room.clone().acquire_many_owned(bytes as u32).await;
        let (answer, answered) = oneshot::channel();
        let write = Write {
            change,
            answer,
            _room: room.map_err(|_| self.database.stopped())?,
        };
        let begin = {
            let mut waiting = self.waiting();
            waiting.writes.push(write);
            !std::mem::replace(&mut waiting.running, true)
        };
        if begin {
            let writer = Writer {
                queue: self.clone(),
                finished: false,
            };
            tokio::task::spawn_blocking(move || writer.run());
        }
        answered.await.map_err(|_| self.database.stopped())?
    }

    /// How often something was committed since the store was first used. Each commit waits for the disk.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, writes: &[Write]) -> Answers {
        let committed = loop {
            if let Some(committed) = self
                .database
                .with(|database| self.commit_to(database, writes))
            {
                break committed;
            }
            if let Err(error) = self.database.open() {
                break Err(error);
            }
        };
        committed.unwrap_or_else(|error| writes.iter().map(|_| Err(error.clone())).collect())
    }

    fn commit_to(&self, database: &Database, writes: &[Write]) -> Result<Answers, Error> {
        // What it does not say is the default: the disk has it when the commit returns.
        let mut transaction = database.begin_write()?;
        // With the cheaper way of one phase, damage after a crash would be taken for a commit that was cut short: the
        // newest writes would be gone without an error. It also relies on a checksum that a guest could aim at.
        transaction.set_two_phase_commit(true);
        let mut changes = Changes::begin(&transaction, self.limits)?;
        let answers = writes
            .iter()
            .map(|write| changes.apply(&write.change))
            .collect::<Result<_, _>>()?;
        if changes.finish()? {
            transaction.commit()?;
            #[cfg(test)]
            self.commits.fetch_add(1, Ordering::Relaxed);
        } else {
            transaction.abort()?;
        }
        Ok(answers)
    }
}

/// The one that commits, as long as there is something to do.
struct Writer {
    queue: Arc<Queue>,
    finished: bool,
}

impl Writer {
    fn run(mut self) {
        let mut waiting = self.next();
        while let Some(writes) = waiting {
            let answers = self.queue.commit(&writes);
            waiting = self.next();
            if waiting.is_none() {
                // Before the last answer: whoever gets that and drops the stores has closed them.
                drop(self);
                return answer(writes, answers);
            }
            answer(writes, answers);
        }
    }

    /// All that waits now; none when this one has nothing more to do.
    fn next(&mut self) -> Option<Vec<Write>> {
        let mut waiting = self.queue.waiting();
        let writes = std::mem::take(&mut waiting.writes);
        if writes.is_empty() {
            waiting.running = false;
            self.finished = true;
            return None;
        }
        Some(writes)
    }
}

impl Drop for Writer {
    /// A runtime that stops drops it before it has begun. Whoever waits is then told so by the dropped sender.
    fn drop(&mut self) {
        if !self.finished {
            let mut waiting = self.queue.waiting();
            waiting.running = false;
            waiting.writes.clear();
        }
    }
}

fn answer(writes: Vec<Write>, answers: Answers) {
    for (write, answer) in writes.into_iter().zip(answers) {
        // Whoever asked may be gone.
        let _ = write.answer.send(answer);
    }
}

type Answers = Vec<Result<u64, StoreError>>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write as _};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::super::tests::LIMITS;
    use super::super::{ENTRY_BYTES, Stores};
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn concurrent_writes_share_commits_and_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        let before = store.queue().commits();
        let writes: Vec<_> = (0..200)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.set("b", &i.to_string(), vec![i]).await })
            })
            .collect();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        let commits = store.queue().commits() - before;
        assert!((1..=40).contains(&commits), "{commits} commits");
        for i in 0..200 {
            let value = store.get("b", &i.to_string()).await.unwrap();
            assert_eq!(value, Some(vec![i]));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn concurrent_increments_give_different_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        let increments: Vec<_> = (0..100)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.increment("b", "n", 1).await.unwrap() })
            })
            .collect();
        let mut numbers = Vec::new();
        for increment in increments {
            numbers.push(increment.await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_write_that_fails_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            tenant_bytes: 50 * (ENTRY_BYTES + 3),
            ..LIMITS
        };
        let store = Stores::in_folder(folder.path(), limits)
            .of(None)
            .await
            .unwrap();
        let writes: Vec<_> = (100..200)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.set("b", &i.to_string(), Vec::new()).await })
            })
            .collect();
        let (mut stored, mut refused) = (0, 0);
        for write in writes {
            match write.await.unwrap() {
                Ok(()) => stored += 1,
                Err(error) => {
                    assert!(matches!(error, StoreError::Full { .. }), "{error}");
                    refused += 1;
                }
            }
        }
        assert_eq!((stored, refused), (50, 50));
        assert_eq!(store.keys("b", None).await.unwrap().0.len(), 50);
        assert_eq!(store.bytes().await.unwrap(), limits.tenant_bytes);
        // What changes nothing does not bother the disk.
        let commits = store.queue().commits();
        store.delete("b", "no").await.unwrap();
        store.set("b", "no", Vec::new()).await.unwrap_err();
        assert_eq!(store.queue().commits(), commits);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn more_than_the_queue_holds_waits_for_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        let value = vec![1; LIMITS.value_bytes];
        let writes: Vec<_> = (0..24)
            .map(|i| {
                let (store, value) = (store.clone(), value.clone());
                tokio::spawn(async move { store.set("b", &i.to_string(), value).await })
            })
            .collect();
        // Those who give up do not hold up the others.
        for write in writes.iter().step_by(2) {
            write.abort();
        }
        // A single one that is larger than the queue.
        let entries = (100..108).map(|i| (i.to_string(), value.clone()));
        store.set_many("b", entries.collect()).await.unwrap();
        for (i, write) in writes.into_iter().enumerate() {
            match write.await {
                Ok(written) => {
                    written.unwrap();
                    assert!(store.exists("b", &i.to_string()).await.unwrap());
                }
                Err(gone) => assert!(gone.is_cancelled()),
            }
        }
        let free = || store.queue().room.available_permits();
        store.increment("b", "n", 1).await.unwrap();
        while free() != QUEUE_BYTES {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_runtime_that_stops_leaves_a_store_that_works() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::in_folder(folder.path(), LIMITS);
        let mut held = None;
        for round in 1..=20_u64 {
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            let store = runtime.block_on(stores.of(None)).unwrap();
            // It stays open.
            held.get_or_insert_with(|| store.clone());
            for _ in 0..50 {
                let store = store.clone();
                runtime.spawn(async move { store.increment("b", "n", 1).await });
            }
            runtime.block_on(store.increment("b", "rounds", 1)).unwrap();
            runtime.shutdown_background();
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            let rounds = runtime.block_on(store.get("b", "rounds")).unwrap();
            assert_eq!(rounds, Some(round.to_string().into_bytes()));
        }
    }

    const CHILD: &str = "TULPAR_STORE_TEST_FOLDER";

    /// What the next test starts as a process of its own, to be killed. Says on stdout what has been acknowledged.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn child_that_writes() {
        let Some(folder) = std::env::var_os(CHILD) else {
            return;
        };
        let store = Stores::in_folder(Path::new(&folder), LIMITS)
            .of(None)
            .await
            .unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer: usize| {
                let store = store.clone();
                tokio::spawn(async move {
                    for i in 0..100_000_usize {
                        let number = store.increment("numbers", "n", 1).await.unwrap();
                        let key = format!("{writer}-{}", i % 50);
                        let value = format!("{number} ").repeat(1 + i % 300);
                        store.set("b", &key, value.into_bytes()).await.unwrap();
                        let line = format!("acknowledged {key} {number}\n");
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_acknowledged_survives_sigkill() {
        let folder = tempfile::tempdir().unwrap();
        let (_, name) = module_path!().split_once("::").unwrap();
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        for round in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    &format!("{name}::child_that_writes"),
                    "--exact",
                    "--nocapture",
                ])
                .env(CHILD, folder.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            let mut acknowledged = 0;
            while lines.read_line(&mut line).unwrap() > 0 {
                // The last one may be cut short.
                if line.ends_with('\n')
                    && let Some((_, said)) = line.split_once("acknowledged ")
                {
                    let (key, number) = said.trim_end().split_once(' ').unwrap();
                    known.insert(key.to_owned(), number.parse().unwrap());
                    acknowledged += 1;
                    if acknowledged == 200 + 77 * round {
                        child.kill().unwrap();
                    }
                }
                line.clear();
            }
            assert!(acknowledged >= 200, "{acknowledged}");
            child.wait().unwrap();

            let store = Stores::in_folder(folder.path(), LIMITS)
                .of(None)
                .await
                .unwrap();
            let number = |value: Vec<u8>| -> u64 {
                let text = String::from_utf8(value).unwrap();
                text.split(' ').next().unwrap().parse().unwrap()
            };
            let highest = store.get("numbers", "n").await.unwrap().map(number);
            assert!(highest >= known.values().max().copied());
            for (key, acknowledged) in &known {
                // A later one may have been written and not have been acknowledged any more.
                let found = store.get("b", key).await.unwrap().map(number);
                assert!(found >= Some(*acknowledged), "{key}");
            }
            let mut counted = 0;
            for bucket in ["b", "numbers"] {
                for key in store.keys(bucket, None).await.unwrap().0 {
                    let value = store.get(bucket, &key).await.unwrap().unwrap();
                    counted += ENTRY_BYTES + (key.len() + value.len()) as u64;
                }
            }
            assert_eq!(store.bytes().await.unwrap(), counted);
        }
    }
}
