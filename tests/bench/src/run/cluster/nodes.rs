//! The nodes that are measured: one alone, or several with a broker between them.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::broker::Broker;
use super::http::get;
use super::{Bench, eventually};
use crate::load::{Length, Window};
use crate::run::servers::Running;

/// How long nodes may take to find each other, or to do what is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Nodes, and the broker that joins them. All are killed when this goes.
pub struct Nodes {
    nodes: Vec<Node>,
    broker: Option<Broker>,
}

/// One node.
pub struct Node {
    running: Running,
    /// The operator's socket.
    admin: PathBuf,
}

/// What joins nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// There is one, alone.
    Alone,
    /// There are so many, joined by NATS.
    Nats(usize),
}

impl Nodes {
    /// Starts them with these settings, in the form of variables, and waits until all know each other.
    ///
    /// # Errors
    /// One does not start, or they do not find each other.
    pub fn start(bench: &Bench<'_>, joined: Joined, settings: &[(&str, &str)]) -> Result<Self> {
        let work = bench.servers.work();
        let (count, broker) = match joined {
            Joined::Alone => (1, None),
            Joined::Nats(count) => (count, Some(bench.program.start(work)?)),
        };
        let mut nodes = Self {
            nodes: Vec::new(),
            broker,
        };
        for number in 0..count {
            let name = format!("node-{number}");
            let admin = work.join(format!("{name}.sock"));
            let mut all = vec![
                ("TULPAR_ADMIN_SOCKET", admin.display().to_string()),
                ("TULPAR_STORE", format!("{name}/store")),
                ("TULPAR_STATE", format!("{name}/state")),
                // Connections that are only there answer no ping.
                ("TULPAR_TIMEOUTS_PING_MS", "0".to_owned()),
            ];
            if let Some(broker) = &nodes.broker {
                all.push(("TULPAR_BACKPLANE_KIND", "nats".to_owned()));
                all.push(("TULPAR_BACKPLANE_SERVERS", broker.url()));
            }
            all.extend(
                settings
                    .iter()
                    .map(|(name, value)| (*name, (*value).to_owned())),
            );
            let running = bench.servers.start_node(&name, &all)?;
            nodes.nodes.push(Node { running, admin });
        }
        if nodes.broker.is_some() {
            for node in &nodes.nodes {
                node.until("tulpar_backplane_nodes", count as u64, PATIENCE)?;
            }
        }
        Ok(nodes)
    }

    /// One of them.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// The broker, when there is one.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// Their processes.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.iter().map(Node::process).collect()
    }

    /// The window in which a load on them is measured.
    pub fn window(&self, bench: &Bench<'_>) -> Window {
        Window {
            warm_up: bench.warm_up,
            length: Length::Time(bench.duration),
            processes: self.processes(),
            broker: self.broker().map(Broker::process),
        }
    }

    /// Whether nothing got lost between them.
    ///
    /// # Errors
    /// Something did.
    pub fn check(&self) -> Result<()> {
        for (number, node) in self.nodes.iter().enumerate() {
            let lost = node.metrics("tulpar_backplane_lost_total")?;
            let lost: u64 = lost.iter().sum();
            ensure!(lost == 0, "node {number} has lost {lost} messages");
        }
        Ok(())
    }
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.running.process()
    }

    /// Waits until it is subscribed to so many rooms, and parts of namespaces.
    ///
    /// # Errors
    /// It never is.
    pub fn until_subscribed(&self, count: u64) -> Result<()> {
        self.until("tulpar_backplane_subscriptions", count, PATIENCE)
    }

    fn until(&self, metric: &str, wanted: u64, patience: Duration) -> Result<()> {
        let mut last = String::new();
        let reached = eventually(metric, patience, || {
            // A node serves its operator a moment after its clients.
            last = match self.metric(metric) {
                Ok(value) if value == wanted => return Ok(Some(())),
                Ok(value) => value.to_string(),
                Err(error) => format!("not told ({error:#})"),
            };
            Ok(None)
        });
        reached.with_context(|| {
            let log = self.running.log.display();
            format!("{metric} is {last} and not {wanted}, see {log}")
        })
    }

    fn metric(&self, name: &str) -> Result<u64> {
        let found = self.metrics(name)?;
        found
            .first()
            .copied()
            .with_context(|| format!("there is no metric {name}"))
    }

    /// All with that name, whatever their labels.
    fn metrics(&self, name: &str) -> Result<Vec<u64>> {
        let socket = UnixStream::connect(&self.admin)
            .with_context(|| format!("cannot connect to {}", self.admin.display()))?;
        let told = get(socket, "/metrics")?;
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then_some(())?;
            rest.rsplit_once(' ')?.1.parse().ok()
        };
        Ok(told.lines().filter_map(value).collect())
    }
}
