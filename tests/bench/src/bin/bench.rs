//! Measures the server beside its peers and the bare loops, and writes RESULTS.md. `make bench` builds what it needs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tulpar_bench::run::{Places, Plan, run};

/// Measures the server beside its peers and the bare loops
#[derive(Parser)]
struct Cli {
    /// The server, as it is shipped
    #[arg(long, default_value = "target/dist/tulpar", value_name = "FILE")]
    tulpar: PathBuf,
    /// The folder of the built plugins
    #[arg(long, default_value = "plugins", value_name = "DIR")]
    plugins: PathBuf,
    /// The folder of the tests' built guests
    #[arg(
        long,
        default_value = "target/guests/wasm32-wasip2/release/examples",
        value_name = "DIR"
    )]
    guests: PathBuf,
    /// The folder in which npm has installed the peers
    #[arg(long, default_value = "target/bench-peers", value_name = "DIR")]
    peers: PathBuf,
    /// The folder with the figures of the runtime's own benchmark
    #[arg(long, default_value = "target/criterion", value_name = "DIR")]
    criterion: PathBuf,
    /// The NATS server that joins nodes, when NATS_SERVER names none; otherwise the one in PATH
    #[arg(
        long,
        default_value = "target/tools/nats/bin/nats-server",
        value_name = "FILE"
    )]
    nats: PathBuf,
    /// Where logs, caches and the figures of each run go
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    work: PathBuf,
    /// Where RESULTS.md and the plots go
    #[arg(long, default_value = "tests/bench", value_name = "DIR")]
    out: PathBuf,
    /// Runs of each scenario on each server
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How often a run is repeated when other processes ran on the generator's core
    #[arg(long, default_value_t = 1)]
    repeats: usize,
    /// Seconds of load before each measured window
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Seconds of each measured window
    #[arg(long, default_value_t = 1.5)]
    duration: f64,
    /// Rooms on one of several nodes when these are to be many
    #[arg(long, default_value_t = 200_000)]
    rooms: usize,
    /// Only the scenarios whose name contains this, e.g. `room`; can be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let plan = Plan {
        places: Places {
            tulpar: cli.tulpar,
            plugins: cli.plugins,
            guests: cli.guests,
            peers: cli.peers,
            criterion: cli.criterion,
            nats: cli.nats,
            work: cli.work,
        },
        out: cli.out,
        runs: cli.runs,
        repeats: cli.repeats,
        warm_up: Duration::from_secs_f64(cli.warm_up),
        duration: Duration::from_secs_f64(cli.duration),
        rooms: cli.rooms,
        only: cli.only,
        command: format!("bench {}", arguments.join(" "))
            .trim_end()
            .to_owned(),
    };
    Ok(if run(&plan)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
