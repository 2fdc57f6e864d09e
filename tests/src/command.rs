//! `tulpar` from the command line, for what is no server: what it prints, and how it ends.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::lines::Lines;
use crate::server::binary;
use crate::{PATIENCE, workspace};

/// What a command has printed, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    /// None when a signal has ended it.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// `tulpar` in a folder, with these arguments. It knows nothing of the cargo that runs the test, nor of the settings of
/// whoever does; the crates that it builds share one folder and need no registry, when they have [`lock_crate`]'s lock.
pub fn tulpar(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let of_the_outer_build = name.starts_with("CARGO_") && name != "CARGO_HOME";
        let of_others = name.starts_with("RUSTC") || name == "RUSTFLAGS";
        if of_the_outer_build || of_others || name.starts_with("TULPAR_") {
            command.env_remove(&key);
        }
    }
    // As the guests of the other suites, so that what they depend on is there already.
    let target = workspace().join("target/guests");
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn outcome(folder: &Path, args: &[&str]) -> Outcome {
    let output = tulpar(folder, args).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Outcome {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The same of one that has to end well; what it prints.
pub fn succeed(folder: &Path, args: &[&str]) -> String {
    let outcome = outcome(folder, args);
    assert_eq!(outcome.code, Some(0), "tulpar {args:?}: {outcome:?}");
    outcome.stdout
}

/// Gives a crate, or a workspace, the versions that are here already, so that nothing is downloaded.
pub fn lock_crate(folder: &Path) {
    let copied = std::fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"));
    copied.expect("the lock file can be copied");
}

/// A command that runs. It is killed when it is dropped; when a test fails, what it printed is shown.
pub struct Running {
    child: Child,
    /// What it prints to standard output.
    pub stdout: Lines,
    /// What it prints to standard error.
    pub stderr: Lines,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        Self {
            stdout: Lines::collect(child.stdout.take().expect("it is piped")),
            stderr: Lines::collect(child.stderr.take().expect("it is piped")),
            child,
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    /// Waits until it has ended and all it printed is collected.
    pub fn wait_exit(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                self.stdout.wait_for_end(PATIENCE);
                self.stderr.wait_for_end(PATIENCE);
                return status;
            }
            assert!(
                Instant::now() < end,
                "waited {patience:?} in vain for its end"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- standard output\n{}", self.stdout.text());
            eprintln!("--- standard error\n{}", self.stderr.text());
        }
    }
}
