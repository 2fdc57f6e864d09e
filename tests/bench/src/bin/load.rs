//! The load generator by itself, against any server that has /echo and /room.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tulpar_bench::cores;
use tulpar_bench::load::{self, Broadcast, Echo, Idle, Length, Pace, Window};

/// Puts load on a WebSocket server and checks and measures what comes back
#[derive(Parser)]
#[command(after_help = "The generator runs on core 1; start the server with `taskset -c 0`.")]
struct Cli {
    /// The server; of one with several nodes each of them, over which the members of a room are spread in turn
    #[arg(
        long = "server",
        global = true,
        default_value = "127.0.0.1:3000",
        value_name = "ADDR"
    )]
    servers: Vec<SocketAddr>,
    /// The server's process, to measure its CPU time and memory; of one with several nodes each of them
    #[arg(long = "pid", global = true, value_name = "PID")]
    pids: Vec<u32>,
    /// The process of the broker between the nodes, to measure its CPU time
    #[arg(long, global = true, value_name = "PID")]
    broker: Option<u32>,
    /// Print one line of JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Each connection sends, and gets back what it has sent
    Echo {
        /// Connections
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Messages that each has in flight
        #[arg(long, default_value_t = 1)]
        depth: usize,
        /// Bytes of a message
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// What to open; several are taken in turn
        #[arg(long = "path", default_value = "/echo")]
        paths: Vec<String>,
        #[command(flatten)]
        timing: Timing,
    },
    /// Everybody is in one room, and each message goes to every member
    Broadcast {
        /// Members of the room
        #[arg(long, default_value_t = 100)]
        members: usize,
        /// How many of them publish, in turn
        #[arg(long, default_value_t = 1)]
        publishers: usize,
        /// Publishes in flight; one is until every member has it
        #[arg(long, default_value_t = 1)]
        window: usize,
        /// Instead of a window, so many publishes a second, whatever becomes of them
        #[arg(long, conflicts_with = "window")]
        rate: Option<f64>,
        /// Bytes of a message
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// What to open
        #[arg(long, default_value = "/room")]
        path: String,
        /// What each member says first; it is answered with one message; can be given several times
        #[arg(long)]
        first: Vec<String>,
        #[command(flatten)]
        timing: Timing,
    },
    /// Connections that do nothing, and what they cost in memory
    Idle {
        /// Connections
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// What to open
        #[arg(long, default_value = "/echo")]
        path: String,
    },
}

#[derive(Args)]
struct Timing {
    /// Seconds of load before the measured window
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Instead of a time, measure until so many messages have come
    #[arg(long, conflicts_with = "duration")]
    count: Option<u64>,
}

impl Timing {
    fn window(&self, processes: &[u32], broker: Option<u32>) -> Window {
        let length = match self.count {
            Some(count) => Length::Messages(count),
            None => Length::Time(Duration::from_secs_f64(self.duration)),
        };
        Window {
            warm_up: Duration::from_secs_f64(self.warm_up),
            length,
            processes: processes.to_vec(),
            broker,
        }
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    cores::raise_open_files()?;
    cores::pin(&[cores::GENERATOR])?;
    match cli.mode {
        Mode::Echo {
            connections,
            depth,
            size,
            paths,
            timing,
        } => {
            let echo = Echo {
                paths,
                connections,
                depth,
                size,
            };
            show(
                &load::echo(
                    only(&cli.servers, "--server")?,
                    &echo,
                    &timing.window(&cli.pids, cli.broker),
                )?,
                cli.json,
            )
        }
        Mode::Broadcast {
            members,
            publishers,
            window,
            rate,
            size,
            path,
            first,
            timing,
        } => {
            let pace = rate.map_or(Pace::Window(window), Pace::Rate);
            let broadcast = Broadcast {
                path,
                first,
                members,
                publishers,
                size,
                pace,
            };
            show(
                &load::broadcast(
                    &cli.servers,
                    &broadcast,
                    &timing.window(&cli.pids, cli.broker),
                )?,
                cli.json,
            )
        }
        Mode::Idle { connections, path } => {
            let process = only(&cli.pids, "--pid")?;
            let server = only(&cli.servers, "--server")?;
            let idle = load::idle(server, &Idle { path, connections }, process)?;
            print(&idle, cli.json)
        }
    }
}

fn only<T: Copy>(all: &[T], flag: &str) -> Result<T> {
    match all {
        [one] => Ok(*one),
        _ => bail!("this load needs one {flag}"),
    }
}

fn show(report: &load::Report, json: bool) -> Result<()> {
    for warning in report.warnings() {
        eprintln!("WARNING: {warning}");
    }
    print(report, json)
}

fn print(report: &impl Serialize, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{}", serde_json::to_string_pretty(report)?);
    }
    Ok(())
}
