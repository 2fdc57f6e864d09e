//! The broker between the nodes: a NATS server, for each run a new one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::eventually;
use super::http::get;
use crate::cores;
use crate::run::servers::version;

const START: Duration = Duration::from_secs(10);

/// A NATS server that can be started.
pub struct Program {
    path: PathBuf,
    /// What it says of its version.
    pub version: String,
}

/// A running one. It is killed when this goes.
pub struct Broker {
    child: Child,
    /// Where its clients connect.
    pub address: SocketAddr,
    monitor: SocketAddr,
}

impl Program {
    /// The one that NATS_SERVER names, that is installed, or that is in PATH.
    ///
    /// # Errors
    /// There is none, or it does not run.
    pub fn find(installed: &Path) -> Result<Self> {
        let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
        let others = std::iter::once(installed.to_owned()).chain(in_path);
        let found = named.or_else(|| others.into_iter().find(|path| path.is_file()));
        let path = found.context(
            "there is no nats-server; `make nats` installs one, or name it in NATS_SERVER",
        )?;
        let path = path
            .canonicalize()
            .with_context(|| format!("{} is not there", path.display()))?;
        let version = version(Command::new(&path).arg("--version"))?;
        Ok(Self { path, version })
    }

    /// Starts it with JetStream on the servers' core, and waits until it is ready.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, work: &Path) -> Result<Broker> {
        let store = work.join("jetstream");
        if store.exists() {
            fs::remove_dir_all(&store)?;
        }
        let config = work.join("nats.conf");
        let ports = "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n";
        fs::write(
            &config,
            format!("{ports}jetstream {{ store_dir: {store:?} }}\n"),
        )?;
        let log = work.join("nats.log");
        let mut command = Command::new(&self.path);
        command
            .args([OsStr::new("-c"), config.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = cores::on(&[cores::SERVER], || command.spawn())?
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let nobody = ([127, 0, 0, 1], 0).into();
        let mut broker = Broker {
            child,
            address: nobody,
            monitor: nobody,
        };
        let said = eventually("nats-server to be ready", START, || {
            let said = fs::read_to_string(&log)?;
            if let Some(status) = broker.child.try_wait()? {
                bail!("nats-server ended with {status}, see {}", log.display());
            }
            Ok(said.contains("Server is ready").then_some(said))
        })?;
        let address = |before: &str| {
            let found = said
                .lines()
                .find_map(|line| line.split_once(before)?.1.trim().parse().ok());
            found.with_context(|| format!("{} has no `{before}`", log.display()))
        };
        broker.address = address("Listening for client connections on ")?;
        broker.monitor = address("Starting http monitor on ")?;
        Ok(broker)
    }
}

impl Broker {
    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its address as a setting.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// What it knows of its subscriptions: how many there are, and how many were made so far.
    ///
    /// # Errors
    /// It does not say so.
    pub fn subscriptions(&self) -> Result<(u64, u64)> {
        let told = get(TcpStream::connect(self.monitor)?, "/subsz")?;
        let told: Value = serde_json::from_str(&told)?;
        let number = |name: &str| {
            let number = told[name].as_u64();
            number.with_context(|| format!("nats-server does not tell {name}"))
        };
        Ok((number("num_subscriptions")?, number("num_inserts")?))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
