//! What the kernel says of a process: its CPU time and its memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// What all threads of a process together have had of the CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Time on a core.
    pub running: Duration,
    /// Time in which a thread could have run, but its core was with another.
    pub waiting: Duration,
}

impl Cpu {
    /// What a process has had so far. A thread that ends takes its time with it.
    ///
    /// # Errors
    /// There is no such process, or the kernel keeps no account.
    pub fn of(process: u32) -> Result<Self> {
        let threads = format!("/proc/{process}/task");
        let mut total = None;
        for thread in fs::read_dir(&threads).with_context(|| format!("cannot read {threads}"))? {
            // A thread may end between the listing and the look.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let Self { running, waiting } = total.unwrap_or_default();
            let thread = Self::parse(&text);
            total = Some(Self {
                running: running + thread.running,
                waiting: waiting + thread.waiting,
            });
        }
        total.with_context(|| format!("the kernel keeps no account in {threads}/*/schedstat"))
    }

    /// What several processes together have had so far.
    ///
    /// # Errors
    /// As those of [`Cpu::of`].
    pub fn of_all(processes: &[u32]) -> Result<Self> {
        let mut total = Self::default();
        for process in processes {
            let Self { running, waiting } = Self::of(*process)?;
            total.running += running;
            total.waiting += waiting;
        }
        Ok(total)
    }

    /// What this thread has had so far.
    ///
    /// # Errors
    /// The kernel keeps no account.
    pub fn of_this_thread() -> Result<Self> {
        let file = "/proc/thread-self/schedstat";
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        Ok(Self::parse(&text))
    }

    fn parse(schedstat: &str) -> Self {
        let mut times = schedstat
            .split_whitespace()
            .map_while(|field| field.parse().ok());
        let mut next = || Duration::from_nanos(times.next().unwrap_or_default());
        Self {
            running: next(),
            waiting: next(),
        }
    }

    /// What was had since an earlier look.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}

/// The user memory of a process, in bytes. What the kernel holds for its sockets is not in it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// All pages that are present.
    pub rss: u64,
    /// The same, with pages shared between processes divided among them.
    pub pss: u64,
}

impl Memory {
    /// What a process has now.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> Result<Self> {
        let file = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes =
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kilobytes
                .map(|kilobytes| kilobytes * 1024)
                .with_context(|| format!("{file} has no {name}"))
        };
        Ok(Self {
            rss: field("Rss:")?,
            pss: field("Pss:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_time_and_memory() {
        let process = std::process::id();
        assert!(Memory::of(process).unwrap().rss >= Memory::of(process).unwrap().pss / 2);
        let before = Cpu::of(process).unwrap();
        assert!(Cpu::of(process).unwrap().since(before).running < Duration::from_secs(60));
        let ours = Cpu::of_this_thread().unwrap();
        assert!(ours.running <= Cpu::of(process).unwrap().running);
    }
}
