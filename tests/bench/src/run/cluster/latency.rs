//! How much later a member on another node gets what one on the same node gets.

use anyhow::Result;

use super::Bench;
use super::nodes::{Joined, Nodes};
use super::table::{Case, Column, Measurement, Sample};
use crate::load::{self, Broadcast, Latency, Pace};

/// Publishes a second: few, so that nothing waits for others.
const RATE: f64 = 500.0;

const COLUMNS: &[Column] = &[
    Column::new("same node, p50 µs", 0),
    Column::new("p99 µs", 0),
    Column::new("another node, p50 µs", 0),
    Column::new("p99 µs", 0),
];

/// 500 publishes a second, whatever becomes of them.
pub fn all() -> Vec<Measurement> {
    let case = |label: &str, joined| Case::new(label, move |bench| measure(bench, joined));
    vec![Measurement {
        name: "cluster-latency",
        title: "Latency of 500 publishes a second".to_owned(),
        about: "Two members on each node, from the time at which the message was to be sent.",
        columns: COLUMNS,
        most_runs: usize::MAX,
        cases: vec![
            case("1 node, alone", Joined::Alone),
            case("1 node, with NATS", Joined::Nats(1)),
            case("2 nodes", Joined::Nats(2)),
            case("3 nodes", Joined::Nats(3)),
        ],
    }]
}

fn measure(bench: &Bench<'_>, joined: Joined) -> Result<Sample> {
    let nodes = Nodes::start(bench, joined, &[])?;
    let addresses = nodes.addresses();
    let broadcast = Broadcast {
        path: "/room".to_owned(),
        first: Vec::new(),
        members: 2 * addresses.len(),
        publishers: 1,
        size: 64,
        pace: Pace::Rate(RATE),
    };
    let report = load::broadcast(&addresses, &broadcast, &nodes.window(bench))?;
    nodes.check()?;
    let whole = Latency {
        p50_us: report.p50_us,
        p99_us: report.p99_us,
    };
    let same = report.nodes.first().copied().unwrap_or(whole);
    // The last has it later than the others, if anything.
    let other = report.nodes.get(1..).and_then(<[_]>::last);
    let figures = vec![
        Some(same.p50_us),
        Some(same.p99_us),
        other.map(|other| other.p50_us),
        other.map(|other| other.p99_us),
    ];
    Ok(Sample::of(&report, figures))
}
