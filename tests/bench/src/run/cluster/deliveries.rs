//! Deliveries to a room whose members are on several nodes.

use anyhow::Result;

use super::Bench;
use super::nodes::{Joined, Nodes};
use super::table::{Case, Column, Measurement, Sample};
use crate::load::{self, Broadcast, Pace};

const COLUMNS: &[Column] = &[
    Column::new("thousand deliveries/s", 1),
    Column::with_spread("CPU µs per delivery, all nodes", 2),
    Column::with_spread("CPU µs per delivery, broker", 2),
    Column::new("p50 µs", 0),
    Column::new("p99 µs", 0),
];

const NODES: [(&str, Joined); 4] = [
    ("1 node, alone", Joined::Alone),
    ("1 node, with NATS", Joined::Nats(1)),
    ("2 nodes", Joined::Nats(2)),
    ("3 nodes", Joined::Nats(3)),
];

/// A large room and a small one, with one publish in flight and with several.
pub fn all() -> Vec<Measurement> {
    vec![
        room(
            "cluster-deliveries-300",
            "A room of 300, one publish in flight",
            "The members are on all nodes in turn; the one that publishes is on the first.",
            300,
            1,
        ),
        room(
            "cluster-deliveries-300-window-8",
            "A room of 300, 8 publishes in flight",
            "",
            300,
            8,
        ),
        room(
            "cluster-deliveries-3",
            "A room of 3, one publish in flight",
            "On 3 nodes there is one member on each: hardly anything but what a publication costs by itself.",
            3,
            1,
        ),
        room(
            "cluster-deliveries-3-window-8",
            "A room of 3, 8 publishes in flight",
            "",
            3,
            8,
        ),
    ]
}

fn room(
    name: &'static str,
    title: &str,
    about: &'static str,
    members: usize,
    window: usize,
) -> Measurement {
    let cases = NODES.map(|(label, joined)| {
        Case::new(label, move |bench| measure(bench, joined, members, window))
    });
    Measurement {
        name,
        title: title.to_owned(),
        about,
        columns: COLUMNS,
        most_runs: usize::MAX,
        cases: cases.into(),
    }
}

fn measure(bench: &Bench<'_>, joined: Joined, members: usize, window: usize) -> Result<Sample> {
    let nodes = Nodes::start(bench, joined, &[])?;
    let broadcast = Broadcast {
        path: "/room".to_owned(),
        first: Vec::new(),
        members,
        publishers: 1,
        size: 64,
        pace: Pace::Window(window),
    };
    let report = load::broadcast(&nodes.addresses(), &broadcast, &nodes.window(bench))?;
    nodes.check()?;
    let figures = vec![
        Some(report.rate / 1000.0),
        report.server_us,
        report.broker_us,
        Some(report.p50_us),
        Some(report.p99_us),
    ];
    Ok(Sample::of(&report, figures))
}
