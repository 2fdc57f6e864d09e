//! The servers that are measured: where they come from, and how they are started.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::plugins::{folder, lay_out};
use super::scenarios::{Plugins, Scenario};
use crate::cores;

/// What a server may take until it listens; a first start compiles the plugins.
const START: Duration = Duration::from_secs(60);

/// More than by default: rooms for a socket, and connections from the one address that all of them have.
const SETTINGS: [(&str, &str); 2] = [
    ("TULPAR_LIMITS_ROOMS_PER_SOCKET", "10000"),
    ("TULPAR_LIMITS_CONNECTIONS_PER_ADDRESS", "100000"),
];

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The one that all this is about.
    Tulpar,
    /// The same with handlers that are compiled into it.
    Native,
    /// Bun, without a framework.
    Bun,
    /// node with the package `ws`.
    Ws,
    /// The loops of [`crate::bare`].
    Bare,
    /// The same with its batched room.
    BareBatched,
}

impl Kind {
    /// All, in the order of the results.
    pub const ALL: [Self; 6] = [
        Self::Tulpar,
        Self::Native,
        Self::Bun,
        Self::Ws,
        Self::Bare,
        Self::BareBatched,
    ];

    /// Its name in the results.
    pub fn title(self) -> &'static str {
        match self {
            Self::Tulpar => "Tulpar",
            Self::Native => "native handler",
            Self::Bun => "raw Bun",
            Self::Ws => "node ws",
            Self::Bare => "bare loop",
            Self::BareBatched => "bare loop, batched",
        }
    }
}

/// Where the servers are, and where they may write.
pub struct Places {
    /// The binary `tulpar`, built for release.
    pub tulpar: PathBuf,
    /// The folder with the built plugins.
    pub plugins: PathBuf,
    /// The folder with the built guests of the tests.
    pub guests: PathBuf,
    /// The folder in which npm has installed the peers, beside their scripts.
    pub peers: PathBuf,
    /// The folder in which criterion keeps what the runtime's own benchmark has measured.
    pub criterion: PathBuf,
    /// The NATS server that joins nodes, when NATS_SERVER names none.
    pub nats: PathBuf,
    /// Logs, caches and whatever else is of no interest afterwards.
    pub work: PathBuf,
}

/// The servers that can be had.
pub struct Servers {
    found: Vec<Server>,
    skipped: Vec<(Kind, String)>,
    work: PathBuf,
}

struct Server {
    kind: Kind,
    version: String,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Servers {
    /// Looks for all. A peer that is not there is skipped, and said to be.
    ///
    /// # Errors
    /// Tulpar, its plugins, the native handlers or the bare loops are not there.
    pub fn find(places: &Places) -> Result<Self> {
        let absolute = |path: &Path| {
            path.canonicalize()
                .with_context(|| format!("{} is not there: run `make bench`", path.display()))
        };
        let work = absolute(&places.work)?;
        let tulpar = absolute(&places.tulpar)?;
        lay_out(
            &absolute(&places.plugins)?,
            &absolute(&places.guests)?,
            &work,
        )?;
        let own = std::env::current_exe()?;
        let own = |kind, name| -> Result<Server> {
            Ok(Server {
                kind,
                version: String::new(),
                program: absolute(&own.with_file_name(name))?,
                arguments: Vec::new(),
            })
        };
        let mut servers = Self {
            found: vec![
                Server {
                    kind: Kind::Tulpar,
                    version: version(Command::new(&tulpar).arg("--version"))?,
                    program: tulpar,
                    arguments: [
                        "serve",
                        "--listen",
                        "127.0.0.1:0",
                        "--cache",
                        "cache",
                        "--plugins",
                    ]
                    .map(str::to_owned)
                    .into(),
                },
                own(Kind::Native, "native")?,
                own(Kind::Bare, "bare")?,
                own(Kind::BareBatched, "bare")?,
            ],
            skipped: Vec::new(),
            work,
        };
        for (kind, peer) in [
            (Kind::Bun, bun(&places.peers)),
            (Kind::Ws, ws(&places.peers)),
        ] {
            match peer {
                Ok(server) => servers.found.push(server),
                Err(error) => {
                    eprintln!("SKIPPED: {} is not measured: {error:#}", kind.title());
                    servers.skipped.push((kind, format!("{error:#}")));
                }
            }
        }
        Ok(servers)
    }

    /// Whether a server can be had.
    pub fn has(&self, kind: Kind) -> bool {
        self.found.iter().any(|server| server.kind == kind)
    }

    /// The servers that have a version, with it.
    pub fn versions(&self) -> impl Iterator<Item = (Kind, &str)> {
        let versions = self
            .found
            .iter()
            .map(|server| (server.kind, server.version.as_str()));
        versions.filter(|(_, version)| !version.is_empty())
    }

    /// The servers that cannot be had, and why.
    pub fn skipped(&self) -> &[(Kind, String)] {
        &self.skipped
    }

    /// Where servers write.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Starts a server on the scenario's cores, and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, kind: Kind, scenario: &Scenario) -> Result<Running> {
        let plugins = (kind == Kind::Tulpar).then_some(scenario.plugins);
        let name = kind.title().replace([' ', ','], "-");
        self.launch(kind, plugins, scenario.cores, &name, &[])
    }

    /// Starts a node of Tulpar with settings of its own on the server's core, and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_node(&self, name: &str, settings: &[(&str, String)]) -> Result<Running> {
        let plugins = Some(Plugins::All);
        self.launch(Kind::Tulpar, plugins, &[cores::SERVER], name, settings)
    }

    fn launch(
        &self,
        kind: Kind,
        plugins: Option<Plugins>,
        on: &[usize],
        name: &str,
        settings: &[(&str, String)],
    ) -> Result<Running> {
        let server = self
            .found
            .iter()
            .find(|server| server.kind == kind)
            .context("it was not found")?;
        let log = self.work.join(format!("{name}.log"));
        let mut command = Command::new(&server.program);
        command
            .args(&server.arguments)
            .args(plugins.map(folder))
            .envs(SETTINGS)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.work);
        let errors =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let child = cores::on(on, || command.spawn())?
            .with_context(|| format!("cannot start {}", server.program.display()))?;
        let mut running = Running {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            log,
        };
        let stdout = running
            .child
            .stdout
            .take()
            .context("the server has no output")?;
        let (send, receive) = mpsc::channel();
        // It reads on after the address, so that the server never waits for a reader.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let address = line
                    .split_once("http://")
                    .and_then(|(_, address)| address.trim().parse().ok());
                if let Some(address) = address {
                    let _ = send.send(address);
                }
            }
        });
        running.address = receive.recv_timeout(START).ok().with_context(|| {
            format!(
                "{} does not say where it listens, see {}",
                kind.title(),
                running.log.display()
            )
        })?;
        Ok(running)
    }
}

/// A server that has been started. It is killed when this goes.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it said.
    pub log: PathBuf,
}

impl Running {
    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bun(peers: &Path) -> Result<Server> {
    // The package `bun` copies or links one of the platform packages after the installation, which npm can be told
    // not to do.
    let architecture = if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else {
        "x64"
    };
    let modules = peers.join("node_modules");
    let programs = [
        modules.join(format!("@oven/bun-linux-{architecture}/bin/bun")),
        modules.join(format!("@oven/bun-linux-{architecture}-musl/bin/bun")),
        modules.join(".bin/bun"),
    ];
    let found = programs.iter().find_map(|program| {
        let program = program.canonicalize().ok()?;
        Some((
            version(Command::new(&program).arg("--version")).ok()?,
            program,
        ))
    });
    let (version, program) = found.with_context(|| {
        format!(
            "npm has installed no Bun that runs in {}",
            modules.display()
        )
    })?;
    Ok(Server {
        kind: Kind::Bun,
        version,
        program,
        arguments: vec![script(peers, "bun.js")?],
    })
}

fn ws(peers: &Path) -> Result<Server> {
    let node = version(Command::new("node").arg("--version"))?;
    let package = peers.join("node_modules/ws/package.json");
    let text = fs::read_to_string(&package)
        .with_context(|| format!("npm has not installed {}", package.display()))?;
    let package: serde_json::Value = serde_json::from_str(&text)?;
    let version = format!(
        "ws {} on node {node}",
        package["version"].as_str().unwrap_or_default()
    );
    Ok(Server {
        kind: Kind::Ws,
        version,
        program: "node".into(),
        arguments: vec![script(peers, "ws.js")?],
    })
}

fn script(peers: &Path, name: &str) -> Result<String> {
    let script = peers.join(name);
    let script = script
        .canonicalize()
        .with_context(|| format!("{} is not there", script.display()))?;
    Ok(script.to_string_lossy().into_owned())
}

/// What a program prints about its version.
///
/// # Errors
/// It does not run.
pub fn version(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
