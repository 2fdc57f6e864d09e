//! Autobahn's test suite: finds a Python for it, installs it into a folder, runs it.
//!
//! It is written in Python 2 and was never ported. Nothing is installed outside the folder.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What is installed.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Longer than a run takes on a machine that is busy, with all cases.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What to do where there is no interpreter.
const HELP: &str = "no CPython 2.7 with pip was found: not as $PYTHON2, python2.7 or python2, nor with pyenv.\n\
    One way to have it is `pyenv install 2.7.18`.";

/// The suite, installed.
pub struct Suite {
    python: PathBuf,
    folder: PathBuf,
}

impl Suite {
    /// The suite in this folder, where it is installed when it is not there yet, which needs the network.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn in_folder(folder: &Path) -> Result<Self, String> {
        let python = candidates().into_iter().find(|python| is_usable(python));
        let suite = Self {
            python: python.ok_or(HELP)?,
            folder: folder.to_owned(),
        };
        let said = fs::read_to_string(suite.stamp());
        if said.is_ok_and(|said| said == REQUIREMENTS) {
            return Ok(suite);
        }
        match suite.install() {
            Ok(status) if status.success() => Ok(suite),
            Ok(status) => Err(format!("pip cannot install the suite ({status})")),
            Err(error) => Err(format!("the suite cannot be installed: {error}")),
        }
    }

    /// Written last, when all is there.
    fn stamp(&self) -> PathBuf {
        self.folder.join("installed")
    }

    fn install(&self) -> io::Result<ExitStatus> {
        println!("Installing the suite into {}.", self.folder.display());
        drop(fs::remove_dir_all(&self.folder));
        fs::create_dir_all(&self.folder)?;
        let requirements = self.folder.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        let status = Command::new(&self.python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "--target"])
            .arg(&self.folder)
            .arg("--requirement")
            .arg(&requirements)
            .env("PYTHONWARNINGS", "ignore")
            .status()?;
        if status.success() {
            // Without it Python 2 does not take the folder for a package: pip leaves that to a file that counts in
            // folders of the interpreter's own alone.
            fs::write(self.folder.join("zope/__init__.py"), "")?;
            fs::write(self.stamp(), REQUIREMENTS)?;
        }
        Ok(status)
    }

    /// Runs the suite as a client, as `spec` says. What it prints goes to `log`. That it ends well says nothing of the
    /// cases.
    ///
    /// # Errors
    /// It does not start, fails, or goes on for half an hour.
    pub fn run(&self, spec: &Path, log: &Path) -> io::Result<()> {
        let out = File::create(log)?;
        let mut child = Command::new(&self.python)
            .arg(self.folder.join("bin/wstest"))
            .args(["--mode", "fuzzingclient", "--spec"])
            .arg(spec)
            .env("PYTHONPATH", &self.folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        let end = Instant::now() + PATIENCE;
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let said = format!("wstest failed ({status}), see {}", log.display());
                    return Err(io::Error::other(said));
                }
                None if Instant::now() > end => {
                    child.kill()?;
                    child.wait()?;
                    return Err(io::ErrorKind::TimedOut.into());
                }
                None => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Where a Python 2.7 may be.
fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<_> = env::var_os("PYTHON2")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    found.extend(["python2.7", "python2"].map(PathBuf::from));
    // pyenv's own python2.7 is none unless one of its versions is chosen.
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let versions = root
        .or(home)
        .map(|root| fs::read_dir(root.join("versions")));
    let versions = versions.into_iter().flatten().flatten().flatten();
    let of_two = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("2.7"));
    found.extend(of_two.map(|entry| entry.path().join("bin/python2.7")));
    found
}

/// Whether this is a CPython 2.7 with pip.
fn is_usable(python: &Path) -> bool {
    const CHECK: &str = "import pip, platform, sys\n\
        sys.exit(sys.version_info[:2] != (2, 7) or platform.python_implementation() != 'CPython')";
    let status = Command::new(python)
        .args(["-W", "ignore", "-c", CHECK])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
