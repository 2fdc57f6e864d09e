//! Nodes that are joined by NATS: what that costs, and what it brings.
//!
//! All nodes and the broker share the servers' core, so that their CPU time can be compared with that of one node.

mod broker;
mod bucket;
mod churn;
mod deliveries;
mod http;
mod latency;
mod nodes;
mod presence;
mod rooms;
mod table;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use self::broker::Program;
use self::table::{Measurement, Sample, Table};
use super::Plan;
use super::servers::Servers;
use crate::cores;

/// How often is asked whether something that is waited for has come.
const EVERY: Duration = Duration::from_millis(10);

/// What a measurement needs.
pub struct Bench<'a> {
    servers: &'a Servers,
    program: Program,
    warm_up: Duration,
    duration: Duration,
    /// How many rooms many are.
    rooms: usize,
}

/// What was measured of several nodes.
#[derive(Default)]
pub struct Cluster {
    tables: Vec<Table>,
    broker: String,
    /// Why nothing was measured.
    pub skipped: Option<String>,
    /// The runs that brought nothing, and why.
    pub failures: Vec<String>,
}

/// Measures all that the plan wants.
///
/// # Errors
/// The machine does not have the cores.
pub fn measure(plan: &Plan, servers: &Servers) -> Result<Cluster> {
    let all = [
        deliveries::all(),
        latency::all(),
        rooms::all(plan.rooms),
        churn::all(),
        presence::all(),
    ];
    let wanted = all.into_iter().flatten().filter(|it| plan.wants(it.name));
    let wanted: Vec<_> = wanted.collect();
    let mut cluster = Cluster::default();
    if wanted.is_empty() {
        return Ok(cluster);
    }
    let program = match Program::find(&plan.places.nats) {
        Ok(program) => program,
        Err(error) => {
            eprintln!("SKIPPED: more than one node is not measured: {error:#}");
            cluster.skipped = Some(format!("more than one node: {error:#}"));
            return Ok(cluster);
        }
    };
    cluster.broker.clone_from(&program.version);
    let bench = Bench {
        servers,
        program,
        warm_up: plan.warm_up,
        duration: plan.duration,
        rooms: plan.rooms,
    };
    cores::pin(&[cores::GENERATOR])?;
    for measurement in &wanted {
        let table = cluster.run(&bench, measurement, plan);
        cluster.tables.push(table);
    }
    Ok(cluster)
}

impl Cluster {
    fn run(&mut self, bench: &Bench<'_>, measurement: &Measurement, plan: &Plan) -> Table {
        let mut table = Table::new(measurement);
        let runs = plan.runs.min(measurement.most_runs);
        for run in 1..=runs {
            for case in &measurement.cases {
                let mut repeats = plan.repeats;
                let outcome = loop {
                    let outcome = (case.measure)(bench);
                    let shown = match &outcome {
                        Ok(sample) => sample.show(measurement.columns),
                        Err(error) => format!("FAILED: {error:#}"),
                    };
                    eprintln!(
                        "{:<26} run {run} of {runs}  {}\n  {shown}",
                        measurement.name, case.label
                    );
                    let disturbed = outcome
                        .as_ref()
                        .is_ok_and(|sample: &Sample| sample.disturbed);
                    if !disturbed || repeats == 0 {
                        break outcome;
                    }
                    repeats -= 1;
                };
                match outcome {
                    Ok(sample) => table.add(case, sample),
                    Err(error) => self
                        .failures
                        .push(format!("{}, {}: {error:#}", measurement.title, case.label)),
                }
            }
        }
        table
    }

    /// Whether nothing was measured, and nothing skipped.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.skipped.is_none()
    }

    /// How many runs there were, and how many of them were disturbed.
    pub fn disturbed(&self) -> (usize, usize) {
        let counts = self.tables.iter().map(Table::disturbed);
        counts.fold((0, 0), |sum, table| (sum.0 + table.0, sum.1 + table.1))
    }

    /// For people.
    pub fn markdown(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut text = String::from("\n## More than one node\n\n");
        match &self.skipped {
            Some(_) => text += "**Skipped**, see above.\n",
            None => {
                text += &format!(
                    "Joined by {}. All nodes and the broker share one core, the generator has the other.\n",
                    self.broker
                );
            }
        }
        for table in &self.tables {
            text += &table.markdown();
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> Vec<Value> {
        self.tables.iter().map(Table::json).collect()
    }
}

/// Asks again and again until there is something.
fn eventually<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        ensure!(
            started.elapsed() < patience,
            "waited {patience:?} for {what} in vain"
        );
        thread::sleep(EVERY);
    }
}
