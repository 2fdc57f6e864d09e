//! The whole measurement: every scenario on every server, in turn, and what came of it.

mod bar;
mod cluster;
mod inside;
mod machine;
mod plot;
mod plugins;
mod report;
mod results;
mod scenarios;
mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cores;
use crate::load::{self, Length, Window};

use results::{Outcome, Results};
use scenarios::{Load, Scenario};
pub use servers::Places;
use servers::{Kind, Servers};

/// What to measure, and how thoroughly.
pub struct Plan {
    /// Where the servers are.
    pub places: Places,
    /// Where the results go.
    pub out: PathBuf,
    /// Runs of each scenario on each server.
    pub runs: usize,
    /// How often a disturbed run is repeated.
    pub repeats: usize,
    /// Load before each window.
    pub warm_up: Duration,
    /// Each measured window.
    pub duration: Duration,
    /// Only scenarios and measurements whose name contains one of these; none means all.
    pub only: Vec<String>,
    /// How many rooms are on one of several nodes when these are to be many.
    pub rooms: usize,
    /// What was typed to get these results.
    pub command: String,
}

/// Measures, and writes RESULTS.md and the plots. Answers whether every run succeeded.
///
/// # Errors
/// The server under test cannot be had, or the results cannot be written.
pub fn run(plan: &Plan) -> Result<bool> {
    fs::create_dir_all(&plan.places.work)
        .with_context(|| format!("cannot create {}", plan.places.work.display()))?;
    let files = cores::raise_open_files()?;
    ensure!(
        files > scenarios::MOST_CONNECTIONS,
        "{files} open files are not enough for {} connections: raise the limit with `ulimit -Hn`",
        scenarios::MOST_CONNECTIONS
    );
    let servers = Servers::find(&plan.places)?;
    let mut results = Results::new(inside::read(&plan.places.criterion));
    for scenario in scenarios::all()
        .into_iter()
        .filter(|scenario| plan.wants(scenario.name))
    {
        for run in 1..=plan.runs {
            // Interleaved, so that what changes on the machine meanwhile changes for all alike.
            for kind in scenario
                .servers
                .iter()
                .copied()
                .filter(|kind| servers.has(*kind))
            {
                let mut repeats = plan.repeats;
                let outcome = loop {
                    let outcome = measure(plan, &servers, &scenario, kind);
                    let shown = match &outcome {
                        Ok(outcome) => outcome.to_string(),
                        Err(error) => format!("FAILED: {error:#}"),
                    };
                    eprintln!(
                        "{:<20} run {run} of {}  {:<18} {shown}",
                        scenario.name,
                        plan.runs,
                        kind.title()
                    );
                    let disturbed = outcome.as_ref().is_ok_and(Outcome::disturbed);
                    if !disturbed || repeats == 0 {
                        break outcome;
                    }
                    repeats -= 1;
                };
                results.add(&scenario, kind, outcome);
            }
        }
    }
    results.cluster = cluster::measure(plan, &servers)?;
    ensure!(
        !results.is_empty(),
        "no scenario's name contains any of {:?}",
        plan.only
    );
    write(&plan.places.work, "results.json", &results.json()?)?;
    write(
        &plan.out,
        "RESULTS.md",
        &report::markdown(plan, &servers, &results),
    )?;
    write(&plan.out, "ratios.svg", &plot::ratios(&results))?;
    for growth in plot::GROWTHS {
        if let Some(plot) = growth.draw(&results) {
            write(&plan.out, growth.file, &plot)?;
        }
    }
    eprintln!("Results are in {}", plan.out.join("RESULTS.md").display());
    Ok(results.failures().next().is_none())
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn measure(plan: &Plan, servers: &Servers, scenario: &Scenario, kind: Kind) -> Result<Outcome> {
    let server = servers.start(kind, scenario)?;
    let generator: &[_] = match scenario.cores {
        [cores::SERVER] => &[cores::GENERATOR],
        shared => shared,
    };
    cores::pin(generator)?;
    let window = Window {
        warm_up: plan.warm_up,
        length: Length::Time(plan.duration),
        processes: vec![server.process()],
        broker: None,
    };
    let outcome = match &scenario.load {
        Load::Echo(echo) => load::echo(server.address, echo, &window).map(Outcome::Load),
        Load::Broadcast(broadcast) => {
            let mut broadcast = broadcast.clone();
            if kind == Kind::BareBatched {
                broadcast.path += "-batched";
            }
            load::broadcast(&[server.address], &broadcast, &window).map(Outcome::Load)
        }
        Load::Idle(idle) => load::idle(server.address, idle, server.process()).map(Outcome::Idle),
    };
    outcome.with_context(|| format!("see {}", server.log.display()))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
