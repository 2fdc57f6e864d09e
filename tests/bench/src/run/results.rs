//! What the runs have brought, and the medians of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::cluster::Cluster;
use super::scenarios::Scenario;
use super::servers::Kind;
use crate::load::{IdleReport, Report};

/// What one run has brought.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Messages were measured.
    Load(Report),
    /// Memory was.
    Idle(IdleReport),
}

impl Outcome {
    /// Microseconds of CPU time per message, or bytes of memory per connection.
    fn cost(&self) -> Option<f64> {
        match self {
            Self::Load(report) => report.server_us,
            Self::Idle(report) => Some(report.rss_each),
        }
    }

    /// Whether something else ran meanwhile where it must not. Memory is not disturbed by that.
    pub fn disturbed(&self) -> bool {
        matches!(self, Self::Load(report) if report.disturbed())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(report) => {
                write!(
                    formatter,
                    "{:8.3} µs CPU  {:9.0}/s  p50 {:8.0} µs  p99 {:8.0} µs  cores {:3.0} % {:3.0} %",
                    report.server_us.unwrap_or_default(),
                    report.rate,
                    report.p50_us,
                    report.p99_us,
                    report.server_share.unwrap_or_default() * 100.0,
                    report.generator_share * 100.0,
                )?;
                report
                    .warnings()
                    .iter()
                    .try_for_each(|warning| write!(formatter, "\n  WARNING: {warning}"))
            }
            Self::Idle(report) => write!(formatter, "{:8.0} bytes each", report.rss_each),
        }
    }
}

/// A figure of all runs of a scenario on a server.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

/// All runs.
#[derive(Default)]
pub struct Results {
    /// In the order in which they ran.
    scenarios: Vec<Measured>,
    failures: Vec<String>,
    /// What was measured inside the server, in nanoseconds.
    inside: BTreeMap<&'static str, f64>,
    /// What was measured of several nodes.
    pub cluster: Cluster,
}

/// A scenario and what it has brought.
pub struct Measured {
    /// The scenario's name.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What its figures are for one of.
    pub unit: &'static str,
    /// The runs on each server.
    pub servers: BTreeMap<Kind, Vec<Outcome>>,
}

impl Results {
    /// No runs yet, beside what was measured inside the server.
    pub fn new(inside: BTreeMap<&'static str, f64>) -> Self {
        Self {
            inside,
            ..Self::default()
        }
    }

    /// What was measured inside the server under a name, in nanoseconds.
    pub fn inside(&self, name: &str) -> Option<f64> {
        self.inside.get(name).copied()
    }

    /// Adds a run.
    pub fn add(&mut self, scenario: &Scenario, kind: Kind, outcome: Result<Outcome>) {
        if self
            .scenarios
            .last()
            .is_none_or(|last| last.name != scenario.name)
        {
            self.scenarios.push(Measured {
                name: scenario.name,
                title: scenario.title,
                unit: scenario.unit(),
                servers: BTreeMap::new(),
            });
        }
        match (outcome, self.scenarios.last_mut()) {
            (Ok(outcome), Some(measured)) => {
                measured.servers.entry(kind).or_default().push(outcome);
            }
            (Err(error), _) => {
                self.failures
                    .push(format!("{}, {}: {error:#}", scenario.title, kind.title()));
            }
            (Ok(_), None) => {}
        }
    }

    /// Whether nothing was run.
    pub fn is_empty(&self) -> bool {
        self.scenarios.is_empty() && self.cluster.is_empty()
    }

    /// The runs that brought nothing, and why.
    pub fn failures(&self) -> impl Iterator<Item = &String> {
        self.failures.iter().chain(&self.cluster.failures)
    }

    /// How many runs there were, and how many of them were disturbed.
    pub fn disturbed(&self) -> (usize, usize) {
        let runs = || {
            self.scenarios
                .iter()
                .flat_map(|measured| measured.servers.values().flatten())
        };
        let disturbed = runs().filter(|outcome| outcome.disturbed());
        let cluster = self.cluster.disturbed();
        (runs().count() + cluster.0, disturbed.count() + cluster.1)
    }

    /// All scenarios.
    pub fn scenarios(&self) -> &[Measured] {
        &self.scenarios
    }

    /// What a scenario costs on a server for one of its unit: microseconds of CPU time, or bytes of memory.
    pub fn cost(&self, scenario: &str, kind: Kind) -> Option<Figure> {
        self.scenarios
            .iter()
            .find(|measured| measured.name == scenario)?
            .cost(kind)
    }

    /// How many times as much a scenario costs on a server as another scenario or the same one on another server.
    pub fn ratio(&self, own: (Kind, &str), other: (Kind, &str)) -> Option<f64> {
        if own.1 == other.1 {
            let measured = self
                .scenarios
                .iter()
                .find(|measured| measured.name == own.1)?;
            return measured.ratio(own.0, other.0);
        }
        let cost = |(kind, scenario): (Kind, &str)| Some(self.cost(scenario, kind)?.median);
        Some(cost(own)? / cost(other)?)
    }

    /// Everything, for machines.
    pub fn json(&self) -> Result<String> {
        let mut runs = Vec::new();
        for measured in &self.scenarios {
            for (kind, outcomes) in &measured.servers {
                for outcome in outcomes {
                    runs.push(json!({ "scenario": measured.name, "server": kind.title(), "figures": outcome }));
                }
            }
        }
        Ok(serde_json::to_string_pretty(
            &json!({ "runs": runs, "cluster": self.cluster.json(), "failures": self.failures().collect::<Vec<_>>() }),
        )?)
    }
}

impl Measured {
    /// What it costs on a server for one of its unit.
    pub fn cost(&self, kind: Kind) -> Option<Figure> {
        self.figure(kind, Outcome::cost)
    }

    /// A figure of its load on a server.
    pub fn load(&self, kind: Kind, figure: impl Fn(&Report) -> f64) -> Option<Figure> {
        self.figure(kind, |outcome| match outcome {
            Outcome::Load(report) => Some(figure(report)),
            Outcome::Idle(_) => None,
        })
    }

    /// A figure of its memory on a server.
    pub fn idle(&self, kind: Kind, figure: impl Fn(&IdleReport) -> f64) -> Option<Figure> {
        self.figure(kind, |outcome| match outcome {
            Outcome::Load(_) => None,
            Outcome::Idle(report) => Some(figure(report)),
        })
    }

    /// How many times as much it costs on a server as on another: the median over the runs, of which each is compared
    /// with the one beside it. A machine that is slow for a while is so for both.
    pub fn ratio(&self, kind: Kind, to: Kind) -> Option<f64> {
        let costs = |kind| Some(self.servers.get(&kind)?.iter().filter_map(Outcome::cost));
        let pairs = costs(kind)?.zip(costs(to)?);
        Some(middle(pairs.map(|(own, other)| own / other).collect())?.median)
    }

    fn figure(&self, kind: Kind, figure: impl Fn(&Outcome) -> Option<f64>) -> Option<Figure> {
        middle(self.servers.get(&kind)?.iter().filter_map(figure).collect())
    }
}

/// The median, the least and the most. None of nothing.
pub fn middle(mut all: Vec<f64>) -> Option<Figure> {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    let median = match all.len() % 2 {
        0 => (all.get(middle.checked_sub(1)?)? + all.get(middle)?) / 2.0,
        _ => *all.get(middle)?,
    };
    Some(Figure {
        median,
        least: *all.first()?,
        most: *all.last()?,
    })
}
