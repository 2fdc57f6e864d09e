//! A NATS server as a child process: the broker between the nodes of a cluster.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Write, stderr};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use crate::client::Value;
use crate::http::Request;
use crate::lines::Lines;
use crate::tls::Certificate;
use crate::{PATIENCE, eventually, workspace};

/// A server that somebody else has taken the port of, before it did, is started again with another one.
const ATTEMPTS: usize = 5;

/// A running NATS server with JetStream. It is killed when it is dropped.
pub struct Nats {
    child: Option<Child>,
    /// What it prints: its log.
    pub log: Lines,
    clients: SocketAddr,
    monitor: SocketAddr,
    folder: TempDir,
}

impl Nats {
    /// A new one; none where there is no nats-server.
    pub fn start() -> Option<Self> {
        Self::with("")
    }

    /// A new one with these lines in its configuration, such as `max_payload: 1000` or `authorization { token: secret }`;
    /// none where there is no nats-server.
    pub fn with(lines: &str) -> Option<Self> {
        let program = program()?;
        let started = (0..ATTEMPTS).find_map(|_| Self::attempt(&program, lines));
        Some(started.expect("nats-server finds a free port"))
    }

    fn attempt(program: &Path, lines: &str) -> Option<Self> {
        let [clients, monitor] = [(); 2].map(|()| free_address());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "listen: {clients:?}\nhttp: {monitor:?}\njetstream {{ store_dir: {:?} }}\n{lines}\n",
            folder.path().join("jetstream"),
            clients = clients.to_string(),
            monitor = monitor.to_string(),
        );
        fs::write(folder.path().join("nats.conf"), config).expect("the file can be written");
        let mut nats = Self {
            child: None,
            log: Lines::default(),
            clients,
            monitor,
            folder,
        };
        match nats.run(program) {
            Ok(()) => Some(nats),
            Err(log) if log.contains("address already in use") => None,
            Err(log) => panic!("nats-server does not start: {log}"),
        }
    }

    /// Runs it and waits until it is ready; gives what it printed when it never is.
    fn run(&mut self, program: &Path) -> Result<(), String> {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        self.log = Lines::collect(child.stderr.take().expect("it is piped"));
        self.child = Some(child);
        match self.log.wait_for(&["Server is ready"], PATIENCE) {
            Some(_) => Ok(()),
            None => Err(self.log.text()),
        }
    }

    /// Where its clients connect.
    pub fn address(&self) -> SocketAddr {
        self.clients
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("nats://{}", self.clients)
    }

    /// Has it end in order, and waits until it has.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it runs");
        let end = Instant::now() + PATIENCE;
        while child.try_wait().expect("it can be waited for").is_none() {
            assert!(Instant::now() < end, "nats-server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it end on the spot, as when its machine fails.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it can be waited for");
        }
    }

    /// Starts it again, on the same port and with what it has kept.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let program = program().expect("it was there before");
        let started = self.run(&program);
        started.unwrap_or_else(|log| panic!("nats-server does not start again: {log}"));
    }

    /// Has it do nothing more, while its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A thread of its that is running goes on until it hears the signal.
        let child = self.child.as_ref().expect("it runs");
        let child = WaitId::Pid(Pid::from_child(child));
        waitid(child, WaitIdOptions::STOPPED).expect("it can be waited for");
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it can be signalled");
    }

    /// What it answers on its monitoring port, such as `/varz` or `/connz?subs=1`.
    pub async fn tell(&self, path: &str) -> Value {
        let response = Request::get(path).send(self.monitor).await;
        let text = response.text();
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {path}: {text}"))
    }

    /// What each of its clients is subscribed to.
    pub async fn subscriptions(&self) -> Vec<Vec<String>> {
        let told = self.tell("/connz?subs=1&limit=10000").await;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let subjects = |client: &Value| {
            let subjects = list(&client["subscriptions_list"]).into_iter();
            let text = |it: Value| it.as_str().map(str::to_owned);
            subjects.filter_map(text).collect()
        };
        list(&told["connections"]).iter().map(subjects).collect()
    }

    /// How many of its clients hear what is published to that subject.
    pub async fn listeners(&self, subject: &str) -> usize {
        let clients = self.subscriptions().await;
        let hears = |client: &&Vec<String>| client.iter().any(|it| covers(it, subject));
        clients.iter().filter(hears).count()
    }

    /// Waits until so many of its clients hear what is published to that subject.
    pub async fn until_heard_by(&self, count: usize, subject: &str) {
        eventually(&format!("{count} to hear {subject}"), async || {
            (self.listeners(subject).await == count).then_some(())
        })
        .await;
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the log of NATS\n{}", self.log.text());
        }
    }
}

/// Three NATS servers that are one broker; none where there is no nats-server.
pub async fn three_nats() -> Option<[Nats; 3]> {
    let routes = [(); 3].map(|()| free_address());
    let urls = routes.map(|address| format!("\"nats://{address}\""));
    let start = |number: usize| {
        let route = routes[number].to_string();
        // Clients stay with the servers that they were told of.
        Nats::with(&format!(
            "server_name: n{number}\ncluster {{ name: tests, listen: {route:?}, routes: [{}], no_advertise: true }}",
            urls.join(", "),
        ))
    };
    let servers = [start(0)?, start(1)?, start(2)?];
    for server in &servers {
        eventually("the servers to be one broker", async || {
            let routes = server.tell("/routez").await;
            let routes = routes["routes"].as_array().cloned().unwrap_or_default();
            let mut others: Vec<_> = routes
                .iter()
                .map(|it| it["remote_id"].to_string())
                .collect();
            others.sort();
            others.dedup();
            let health = server.tell("/healthz").await;
            (others.len() == 2 && health["status"] == "ok").then_some(())
        })
        .await;
    }
    Some(servers)
}

/// The lines of a NATS server that has this certificate, and lets only those in who have that other one, if there is one.
pub fn with_tls(certificate: &Certificate, of_clients: Option<&Certificate>) -> String {
    let [certificate, key] = certificate.files();
    let clients = of_clients.map(|it| format!("verify: true, ca_file: {:?}", it.files()[0]));
    format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, timeout: 5, {} }}",
        clients.unwrap_or_default()
    )
}

/// Whether whoever is subscribed to `pattern` hears what is published to `subject`.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => (),
            (wanted, Some(token)) if wanted == token => (),
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// An address on which nobody listens. No connection takes it either: its port is below those that are given to them.
fn free_address() -> SocketAddr {
    loop {
        let port = 10_000 + (RandomState::new().hash_one(0) % 20_000) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The nats-server that NATS_SERVER names, that `make nats` has installed, or that is in PATH. Where there is none, that
/// is said, or fails the test when TULPAR_TESTS_NATS is `required`.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NATS_SERVER") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let installed = workspace().join("target/tools/nats/bin/nats-server");
    let found = std::iter::once(installed)
        .chain(in_path)
        .find(|it| it.is_file());
    if found.is_none() {
        let why = "there is no nats-server; `make nats` installs one, or name it in NATS_SERVER";
        let required = std::env::var_os("TULPAR_TESTS_NATS");
        assert!(required.is_none_or(|it| it != "required"), "{why}");
        // Not by println, whose output nobody sees when the test passes.
        drop(writeln!(stderr(), "SKIPPED: a test of clusters: {why}"));
    }
    found
}
