//! Several servers that a broker joins.

use std::ops::{Index, IndexMut};
use std::thread;
use std::time::Duration;

use tokio::time::timeout;

use crate::client::{Client, Value, json};
use crate::eventually;
use crate::guests::guest;
use crate::nats::Nats;
use crate::server::{Builder, Server};
use crate::wire::Wire;

/// What nodes are told in `[backplane]` when a test does not say otherwise. A busy machine may hold a node or the broker back
/// for seconds, which nobody is to take for silence then.
const PATIENT: [(&str, u32); 2] = [("heartbeat-ms", 3_000), ("request-ms", 8_000)];

/// How long a handler may take then: longer than it may wait for other nodes.
const DEADLINE_MS: u32 = 10_000;

/// Nodes about to be started.
pub struct Nodes {
    count: usize,
    plugins: Vec<String>,
    /// More files in the plugins folder.
    files: Vec<(String, Vec<u8>)>,
    /// Where the broker is: in the words of the configuration, or behind a wire for each.
    brokers: Brokers,
    backplane: String,
    more: String,
}

enum Brokers {
    At(Vec<String>),
    Behind(std::net::SocketAddr),
}

impl Nodes {
    /// So many, with the guests `commander`, `scripted`, `desk` and `attach`.
    pub fn of(count: usize, nats: &Nats) -> Self {
        Self::at(count, vec![nats.url()])
    }

    /// The same with any brokers.
    pub fn at(count: usize, servers: Vec<String>) -> Self {
        let plugins = ["commander", "scripted", "desk", "attach"];
        Self {
            count,
            plugins: plugins.map(str::to_owned).to_vec(),
            files: Vec::new(),
            brokers: Brokers::At(servers),
            backplane: String::new(),
            more: String::new(),
        }
    }

    /// Each reaches the broker by a wire of its own.
    pub fn wired(count: usize, nats: &Nats) -> Self {
        Self {
            brokers: Brokers::Behind(nats.address()),
            ..Self::of(count, nats)
        }
    }

    /// With these plugins instead.
    pub fn plugins(mut self, names: &[&str]) -> Self {
        self.plugins = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// With these plugins in a tenant's folder.
    pub fn tenant(self, tenant: &str, names: &[&str]) -> Self {
        names.iter().fold(self, |nodes, name| {
            nodes.file(&format!("{tenant}/{name}.wasm"), &guest(name))
        })
    }

    /// With these bytes at a path below the plugins folder.
    pub fn file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.to_owned(), bytes.to_vec()));
        self
    }

    /// With these lines in the table `[backplane]`.
    pub fn backplane(mut self, lines: &str) -> Self {
        self.backplane = lines.to_owned();
        self
    }

    /// With these tables in the configuration, beside `[backplane]`.
    pub fn config(mut self, tables: &str) -> Self {
        self.more = tables.to_owned();
        self
    }

    /// Starts them all, and waits until each knows the others.
    pub async fn join(self) -> Cluster {
        let cluster = self.start();
        // One that has not found the broker in time serves all the same.
        for node in &cluster.nodes {
            node.log_line(&["connected to NATS"]);
        }
        cluster.joined().await;
        cluster
    }

    /// Starts them all.
    pub fn start(self) -> Cluster {
        let (servers, wires): (Vec<_>, Vec<_>) = (0..self.count).map(|_| self.builder()).unzip();
        // At once: each compiles what is not compiled yet.
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = servers
                .into_iter()
                .map(|server| scope.spawn(|| server.start()))
                .collect();
            let started = starting.into_iter().map(|it| it.join());
            started.map(|it| it.expect("it starts")).collect()
        });
        Cluster {
            nodes,
            wires: wires.into_iter().flatten().collect(),
            like: self,
        }
    }

    /// One of them about to be started, for a test that wants to do more with it, and its wire.
    pub fn builder(&self) -> (Builder, Option<Wire>) {
        let (urls, wire) = match &self.brokers {
            Brokers::At(urls) => (urls.clone(), None),
            Brokers::Behind(address) => {
                let wire = Wire::to(*address);
                (vec![wire.url()], Some(wire))
            }
        };
        let left_open = PATIENT
            .iter()
            .filter(|(key, _)| !self.backplane.contains(key));
        let patient: String = left_open
            .map(|(key, ms)| format!("{key} = {ms}\n"))
            .collect();
        let config = format!(
            "[backplane]\nkind = \"nats\"\nservers = {urls:?}\n{patient}{}\n{}",
            self.backplane, self.more
        );
        let names: Vec<_> = self.plugins.iter().map(String::as_str).collect();
        let mut server = Server::with(&names).config(&config);
        if !self.more.contains("deadline-ms") {
            server = server.env("TULPAR_LIMITS_DEADLINE_MS", &DEADLINE_MS.to_string());
        }
        for (path, bytes) in &self.files {
            server = server.file(path, bytes);
        }
        (server, wire)
    }
}

/// Running nodes. `cluster[0]` is the first.
pub struct Cluster {
    /// The servers.
    pub nodes: Vec<Server>,
    /// The wires of the nodes, in the same order, if they have wires.
    pub wires: Vec<Wire>,
    like: Nodes,
}

impl Index<usize> for Cluster {
    type Output = Server;

    fn index(&self, number: usize) -> &Server {
        &self.nodes[number]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, number: usize) -> &mut Server {
        &mut self.nodes[number]
    }
}

impl Cluster {
    /// Waits until each node knows all of them, and its services have started.
    pub async fn joined(&self) {
        for node in &self.nodes {
            knows(node, self.nodes.len()).await;
            eventually("a node to be ready", async || {
                (node.admin_status("/ready") == Some(200)).then_some(())
            })
            .await;
        }
    }

    /// Adds a node like the others, and waits until each knows it.
    pub async fn grow(&mut self) {
        let (server, wire) = self.like.builder();
        self.nodes.push(server.start());
        self.wires.extend(wire);
        self.joined().await;
    }

    /// Kills a node on the spot.
    pub fn kill(&mut self, number: usize) {
        drop(self.nodes.remove(number));
        if !self.wires.is_empty() {
            drop(self.wires.remove(number));
        }
    }

    /// A socket of each node at that path, each in that room, and each hears what is sent to it on any node.
    pub async fn members(&self, path: &str, room: &str) -> Vec<Client> {
        let mut members = Vec::new();
        for node in &self.nodes {
            let mut member = crate::connect(node.url(path)).await;
            let joined = member.ask(json!({ "do": "subscribe", "room": room })).await;
            assert_eq!(joined, "done");
            members.push(member);
        }
        hear_each_other(&mut members, room).await;
        members
    }

    /// A number that is counted, of all nodes together.
    pub fn metric(&self, name: &str) -> u64 {
        self.nodes.iter().map(|node| node.metric(name)).sum()
    }

    /// Shows that no node has panicked.
    pub fn has_not_panicked(&self) {
        self.nodes.iter().for_each(Server::has_not_panicked);
    }
}

/// Waits until a node knows so many, itself included.
pub async fn knows(node: &Server, count: usize) {
    let mut last = 0;
    eventually(&format!("a node to know {count}"), async || {
        last = node.metric("tulpar_backplane_nodes");
        (last == count as u64).then_some(())
    })
    .await;
}

/// Waits until a node has found out that it has a connection to the broker, or none.
pub async fn connected(node: &Server, expected: bool) {
    eventually(&format!("a connection: {expected}"), async || {
        let now = node.metric("tulpar_backplane_connected");
        (now == u64::from(expected)).then_some(())
    })
    .await;
}

/// How many messages a node has lost for that reason.
pub fn lost(node: &Server, reason: &str) -> u64 {
    node.metric(&format!("tulpar_backplane_lost_total{{reason={reason:?}}}"))
}

/// Waits until whatever one of them sends to the room reaches all others, since a join is known to other nodes a moment
/// later. They are all of the room's members, and nothing is left for them to read then.
pub async fn hear_each_other(members: &mut [Client], room: &str) {
    for sender in 0..members.len() {
        for receiver in (0..members.len()).filter(|it| *it != sender) {
            eventually("a member to be heard by another", async || {
                publish(&mut members[sender], room, PROBE).await;
                let heard = among_probes(&mut members[receiver], json!({ "do": "nothing" })).await;
                (heard > 0).then_some(())
            })
            .await;
        }
    }
    // What is still on the way comes before what is sent now. Nodes that miss each other soon may lose it: then it is said
    // again, and all wait for what was said last.
    for sender in 0..members.len() {
        let mut round = 0;
        'said: loop {
            assert!(round < ROUNDS, "{sender} is not heard any more");
            let last = format!("{THROUGH} {sender} {round}");
            round += 1;
            publish(&mut members[sender], room, &last).await;
            for receiver in (0..members.len()).filter(|it| *it != sender) {
                if !reads_up_to(&mut members[receiver], &last).await {
                    continue 'said;
                }
            }
            break;
        }
    }
}

const PROBE: &str = "heard?";
const THROUGH: &str = "through with";
/// How often a member says that it is through, and how long the others have to hear it before it does so again.
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(5);

/// Whether this comes in time. What comes before it is of [`hear_each_other`] too.
async fn reads_up_to(client: &mut Client, last: &str) -> bool {
    let read = async {
        loop {
            let text = client.recv_text().await;
            if text == last {
                return;
            }
            assert!(text == PROBE || text.starts_with(THROUGH), "{text}");
        }
    };
    timeout(ROUND, read).await.is_ok()
}

async fn publish(sender: &mut Client, room: &str, text: &str) {
    let told = json!({ "do": "publish", "room": room, "message": text });
    among_probes(sender, told).await;
}

/// Has a command obeyed. Returns how many probes came before the answer.
async fn among_probes(client: &mut Client, command: Value) -> usize {
    client.send(command.to_string()).await;
    let mut probes = 0;
    loop {
        let text = client.recv_text().await;
        if text != PROBE {
            assert!(text.starts_with("{\"answer\""), "{text}");
            return probes;
        }
        probes += 1;
    }
}
