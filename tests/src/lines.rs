//! The lines that a child process prints, collected while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The lines printed so far. Clones look at the same lines.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    printed: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects what `stream` gives, on a thread of its own, until it ends.
    pub fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let collected = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                collected
                    .lock()
                    .lines
                    .push(String::from_utf8_lossy(&line).into_owned());
                collected.0.changed.notify_all();
            }
            collected.lock().ended = true;
            collected.0.changed.notify_all();
        });
        lines
    }

    /// The first line that holds all of `parts`, as soon as there is one; none when the time is up or the stream
    /// has ended.
    pub fn wait_for(&self, parts: &[&str], patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        let mut printed = self.lock();
        loop {
            let found = printed
                .lines
                .iter()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            if let Some(line) = found {
                return Some(line.clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if printed.ended || left.is_zero() {
                return None;
            }
            printed = self
                .0
                .changed
                .wait_timeout(printed, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// The lines so far that hold `part`.
    pub fn with(&self, part: &str) -> Vec<String> {
        self.lock()
            .lines
            .iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }

    /// All lines so far, as one text.
    pub fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// Waits until the stream has ended.
    pub(crate) fn wait_for_end(&self, patience: Duration) {
        let printed = self.lock();
        let ended = self
            .0
            .changed
            .wait_timeout_while(printed, patience, |printed| !printed.ended);
        drop(ended.expect("no reader panics"));
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.printed.lock().expect("no reader panics")
    }
}
