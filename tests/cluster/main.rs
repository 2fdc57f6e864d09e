//! A cluster on this machine, to be tried out: a NATS server, nodes that it joins, and a balancer before them which sends
//! each connection to the next node that is there. `make cluster` builds what it needs.

use std::env;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tulpar_tests::{Lines, Nats, workspace};

/// How many nodes there are when nobody says so.
const NODES: usize = 3;
/// Where the balancer listens when nobody says so.
const LISTEN: &str = "127.0.0.1:3000";
/// The first start after a change compiles the plugins.
const START: Duration = Duration::from_secs(120);
/// A node that does not take a connection in that time is left out.
const PATIENCE: Duration = Duration::from_millis(500);

/// A node, which is killed when this is dropped.
struct Node {
    child: Child,
    stdout: Lines,
    address: SocketAddr,
}

impl Node {
    fn start(number: usize, nats: &Nats) -> Self {
        let state = workspace().join(format!("target/cluster/node-{number}"));
        std::fs::create_dir_all(&state).expect("a folder can be made in target");
        let mut command = Command::new(workspace().join("target/debug/tulpar"));
        command
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--plugins"])
            .arg(workspace().join("plugins"))
            .env("TULPAR_BACKPLANE_KIND", "nats")
            .env("TULPAR_BACKPLANE_SERVERS", nats.url())
            .env("TULPAR_CACHE", workspace().join(".tulpar/cache"))
            .current_dir(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdout = Lines::collect(child.stdout.take().expect("it is piped"));
        let address = ([0, 0, 0, 0], 0).into();
        Self {
            child,
            stdout,
            address,
        }
    }

    /// Waits until it listens. Returns where its live page is.
    fn wait(&mut self) -> String {
        let after = |line: Option<String>| Some(line?.split_once("http://")?.1.trim().to_owned());
        let listens = after(self.stdout.wait_for(&["listening on http://"], START));
        let listens = listens.expect("the node says where it listens");
        self.address = listens.parse().expect("it is an address");
        let page = self.stdout.wait_for(&["the live page: http://"], START);
        after(page).expect("the node says where its live page is")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends each connection to the next node that takes it.
async fn balance(listener: TcpListener, nodes: Arc<[SocketAddr]>) {
    let next = Arc::<AtomicUsize>::default();
    while let Ok((mut client, _)) = listener.accept().await {
        let (nodes, next) = (nodes.clone(), next.clone());
        tokio::spawn(async move {
            for _ in 0..nodes.len() {
                let node = nodes[next.fetch_add(1, Ordering::Relaxed) % nodes.len()];
                let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(node));
                if let Ok(Ok(mut node)) = connecting.await {
                    // How it ends is the business of both ends.
                    let _ = copy_bidirectional(&mut client, &mut node).await;
                    return;
                }
            }
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (mut listen, mut count) = (LISTEN.to_owned(), NODES);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(address)) => listen = address,
            ("--nodes", Some(nodes)) if nodes.parse::<usize>().is_ok_and(|nodes| nodes > 0) => {
                count = nodes.parse().unwrap_or(NODES);
            }
            _ => {
                eprintln!("cluster [--nodes {NODES}] [--listen {LISTEN}]");
                return ExitCode::FAILURE;
            }
        }
    }
    let listener = match TcpListener::bind(&listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!(
                "cannot listen on {listen}: {error}; `--listen 127.0.0.1:0` takes a free port"
            );
            return ExitCode::FAILURE;
        }
    };
    let Some(nats) = Nats::start() else {
        eprintln!(
            "there is no nats-server: `make nats` installs one, or name yours in NATS_SERVER"
        );
        return ExitCode::FAILURE;
    };
    let mut nodes: Vec<Node> = (1..=count)
        .map(|number| Node::start(number, &nats))
        .collect();
    println!("NATS is at {}, and nodes are starting.", nats.url());
    for (index, node) in nodes.iter_mut().enumerate() {
        let page = node.wait();
        let (number, address, process) = (index + 1, node.address, node.child.id());
        println!("node {number}: http://{address}/  live page http://{page}  process {process}");
    }
    let balancer = listener.local_addr().expect("it listens");
    println!("\nThe balancer: http://{balancer}/");
    println!(
        "Open it twice and chat: each connection goes to the next node. Kill one to see what happens."
    );
    println!("Stop all with Ctrl-C.\n");
    let addresses = nodes.iter().map(|node| node.address).collect();
    balance(listener, addresses).await;
    ExitCode::SUCCESS
}
