//! Which core runs what: the server has one for itself, the generator another, so that neither takes time from the other.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The server's core.
pub const SERVER: usize = 0;
/// The generator's core.
pub const GENERATOR: usize = 1;
/// Both, for what is about more than one core. Server and generator then share them.
pub const BOTH: &[usize] = &[SERVER, GENERATOR];

/// Keeps this thread, and what it starts from now on, on these cores.
///
/// # Errors
/// The machine does not have them.
pub fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).with_context(|| {
        format!("cannot run on the cores {cores:?}: a measurement needs one for the server and one for the load")
    })
}

/// Does something on these cores, and comes back to where it was. A process started meanwhile stays on them.
///
/// # Errors
/// The machine does not have them.
pub fn on<T>(cores: &[usize], work: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).context("cannot ask for this thread's cores")?;
    pin(cores)?;
    let done = work();
    sched_setaffinity(None, &before).context("cannot go back to the cores as they were")?;
    Ok(done)
}

/// Lets this process, and what it starts, have as many files open as it may. Answers how many that are.
///
/// # Errors
/// The limit cannot be raised.
pub fn raise_open_files() -> Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    Ok(maximum.unwrap_or(u64::MAX))
}
