//! Compiling, in a process of its own: what a component makes of the compiler, its time and its memory, is not the
//! server's. All that the process is given is the component, and all that comes back is what goes into the cache.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, Signal};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::engine;
use crate::config::Limits;

/// The subcommand that [`answer`]s.
pub const SUBCOMMAND: &str = "compile-component";
/// How much of what the process says is kept, in bytes.
const MAX_SAID: usize = 4 << 10;
/// How much the process steps back behind those that serve: to a tenth of what they get, so that it ends in time also when
/// they have much to do.
const NICE: i32 = 10;

/// Signals by which others end a process, and which it does not get for what it does itself.
const FROM_OUTSIDE: [i32; 4] = [
    Signal::HUP.as_raw(),
    Signal::INT.as_raw(),
    Signal::TERM.as_raw(),
    Signal::KILL.as_raw(),
];

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is not valid.
    #[error("{0}")]
    Invalid(String),
    /// It took too long.
    #[error("it takes longer than {0} ms to compile (limits.compile-ms)")]
    TooSlow(u64),
    /// It took too much memory.
    #[error("it takes more than {0} bytes of memory to compile (limits.compile-memory-bytes)")]
    TooLarge(u64),
    /// The compiler broke.
    #[error("the compiler failed: {0}")]
    Broken(String),
    /// Somebody else ended the compiler: the operating system for want of memory, for instance.
    #[error("the compiler was ended from outside, by {0}")]
    Killed(ExitStatus),
    /// There is no process to be had.
    #[error("no process can be started to compile it: {0}")]
    NoProcess(#[from] io::Error),
}

/// Makes code of components, one at a time.
#[derive(Debug)]
pub struct Compiler {
    /// None: this process compiles.
    program: Option<PathBuf>,
    ms: u64,
    memory: u64,
    free: Semaphore,
}

impl Compiler {
    /// One that starts this program anew for each component, which then has to [`answer`] the subcommand.
    #[must_use]
    pub fn in_child(limits: &Limits) -> Self {
        // The path of a program that was replaced while it runs leads to another version.
        let this = PathBuf::from("/proc/self/exe");
        let program = match this.exists() {
            true => this,
            false => std::env::current_exe().unwrap_or(this),
        };
        Self {
            program: Some(program),
            ms: limits.compile_ms.into(),
            memory: limits.compile_memory_bytes,
            free: Semaphore::new(1),
        }
    }

    /// One that compiles in this process, without limits: for benchmarks and others that know what they compile.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            program: None,
            ms: 0,
            memory: 0,
            free: Semaphore::new(1),
        }
    }

    /// The code of a component, as the cache keeps it. Cancel-safe: a process ends with the future.
    ///
    /// # Errors
    /// The component is not valid, or costs more than it may.
    pub async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _one = self.free.acquire().await.map_err(io::Error::other)?;
        match &self.program {
            Some(program) => self.compile_by(program, component).await,
            None => precompile(component).map_err(CompileError::Invalid),
        }
    }

    async fn compile_by(&self, program: &Path, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut input = File::from(memory("component")?);
        input.write_all(component)?;
        input.seek(SeekFrom::Start(0))?;
        let mut output = File::from(memory("code")?);
        let child = Command::new(program)
            .arg(SUBCOMMAND)
            .arg(self.memory.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(input)
            .stdout(output.try_clone()?)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let ended = timeout(Duration::from_millis(self.ms), child.wait_with_output());
        let ended = ended.await.map_err(|_| CompileError::TooSlow(self.ms))??;
        if ended.status.success() {
            let mut code = Vec::new();
            output.seek(SeekFrom::Start(0))?;
            output.read_to_end(&mut code)?;
            return Ok(code);
        }
        let said = String::from_utf8_lossy(&ended.stderr[..ended.stderr.len().min(MAX_SAID)]);
        Err(self.failure(ended.status, said.trim()))
    }

    /// Why a process has ended so, and said that.
    fn failure(&self, status: ExitStatus, said: &str) -> CompileError {
        match (status.code(), status.signal()) {
            (Some(1), _) => CompileError::Invalid(said.to_owned()),
            // What Rust says before it aborts for want of memory.
            _ if said.contains("memory allocation of") => CompileError::TooLarge(self.memory),
            (_, Some(signal)) if FROM_OUTSIDE.contains(&signal) => CompileError::Killed(status),
            _ => CompileError::Broken(format!("{status}: {said}")),
        }
    }
}

fn memory(name: &str) -> io::Result<OwnedFd> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?)
}

/// The other side: compiles what comes by the standard input, with no more than `memory` bytes, to the standard output.
///
/// # Errors
/// The component is not valid; the message is for the standard error.
pub fn answer(memory: u64) -> Result<(), String> {
    confine(memory).map_err(|error| format!("cannot limit itself: {error}"))?;
    let mut component = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut component);
    read.map_err(|error| error.to_string())?;
    let written = io::stdout().lock().write_all(&precompile(&component)?);
    written.map_err(|error| error.to_string())
}

/// The code, or why there is none.
fn precompile(component: &[u8]) -> Result<Vec<u8>, String> {
    let code = engine::for_compiling().and_then(|engine| engine.precompile_component(component));
    code.map_err(|error| super::code::said(&error))
}

/// Takes from this process what compiling does not need.
fn confine(memory: u64) -> io::Result<()> {
    let limit = |resource, most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit)
    };
    let most = rustix::process::getrlimit(Resource::Data).maximum;
    limit(Resource::Data, most.map_or(memory, |most| most.min(memory)))?;
    // No files, no sockets; the three that are open stay.
    limit(Resource::Nofile, 3)?;
    limit(Resource::Core, 0)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::nice(NICE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::load::Refusal;
    use super::*;

    #[test]
    fn p5_what_others_did_to_the_compiler_is_not_held_against_the_plugin() {
        let compiler = Compiler::in_process();
        let refused = |status: i32, said: &str| {
            Refusal::from(compiler.failure(ExitStatus::from_raw(status), said))
        };
        for signal in FROM_OUTSIDE {
            let refusal = refused(signal, "");
            assert!(refusal.passes(), "{refusal}");
            assert!(refusal.depends_on_settings(), "{refusal}");
        }
        for signal in [Signal::ABORT, Signal::SEGV, Signal::ILL] {
            let refusal = refused(signal.as_raw(), "it panicked");
            assert!(!refusal.passes(), "{refusal}");
        }
        let of_memory = refused(
            Signal::ABORT.as_raw(),
            "memory allocation of 8 bytes failed",
        );
        assert!(of_memory.to_string().contains("compile-memory-bytes"));
        // The status that an exit with 1 leaves.
        let invalid = refused(1 << 8, "it is not valid");
        assert!(matches!(invalid, Refusal::Invalid(_)), "{invalid}");
    }
}
