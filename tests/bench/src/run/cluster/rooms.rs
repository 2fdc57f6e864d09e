//! Very many rooms on one node: what it costs that the other nodes can reach them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::nodes::{Joined, Nodes, PATIENCE};
use super::table::{Case, Column, Measurement, Sample};
use super::{Bench, eventually};
use crate::load::{self, Broadcast, Held, Pace};
use crate::measure::Memory;

/// Sockets that have the rooms, each as many of its own.
const SOCKETS: usize = 20;
/// Rooms that are joined in one call.
const AT_ONCE: usize = 500;
/// What a server still does about its last connections.
const SETTLE: Duration = Duration::from_secs(1);
/// Publishes a second: few, so that nothing waits for others.
const RATE: f64 = 500.0;
/// What a namespace that somebody is in is subscribed to beside its rooms.
const OF_NAMESPACE: u64 = 2;

const COLUMNS: &[Column] = &[
    Column::new("s to join", 2),
    Column::new("s until subscribed", 2),
    Column::new("node, resident bytes per room", 0),
    Column::new("broker, resident bytes per room", 0),
    Column::new("publish from another node, p50 µs", 0),
    Column::new("p99 µs", 0),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Alone,
    OneByOne,
    AllAtOnce,
}

/// Rooms of which other nodes know each, or that there are some.
pub fn all(rooms: usize) -> Vec<Measurement> {
    let case = |label: &str, how| Case::new(label, move |bench| measure(bench, how));
    vec![Measurement {
        name: "cluster-many",
        title: format!("{} thousand rooms on one node", rooms / 1000),
        about: "20 sockets on the first node, each alone in its rooms. Then somebody on a second node publishes to one of \
                them. The guest's own list of the rooms is part of the node's memory.",
        columns: COLUMNS,
        most_runs: 3,
        cases: vec![
            case("1 node, alone", How::Alone),
            case(
                "2 nodes, rooms subscribed to one by one (backplane.rooms = 1000000)",
                How::OneByOne,
            ),
            case(
                "2 nodes, all rooms at once (backplane.rooms as it is by default)",
                How::AllAtOnce,
            ),
        ],
    }]
}

fn measure(bench: &Bench<'_>, how: How) -> Result<Sample> {
    let mut settings = vec![
        ("TULPAR_LIMITS_ROOMS_PER_NAMESPACE", "1000000"),
        ("TULPAR_LIMITS_ROOMS_PER_SOCKET", "1000000"),
        // Some hundred rooms in a call take a millisecond, but not on a machine that others use as well.
        ("TULPAR_LIMITS_DEADLINE_MS", "5000"),
    ];
    if how == How::OneByOne {
        settings.push(("TULPAR_BACKPLANE_ROOMS", "1000000"));
    }
    let joined = match how {
        How::Alone => Joined::Alone,
        _ => Joined::Nats(2),
    };
    let nodes = Nodes::start(bench, joined, &settings)?;
    let node = nodes.node(0);
    let mut held = Held::default();
    held.open(node.address(), "/rooms", &[])?;
    if how != How::Alone {
        node.until_subscribed(OF_NAMESPACE)?;
    }
    thread::sleep(SETTLE);
    let memory = || -> Result<_> {
        let broker = nodes.broker().map(|it| Memory::of(it.process()));
        Ok((Memory::of(node.process())?.rss, broker.transpose()?))
    };
    let before = memory()?;
    let known = || nodes.broker().map(|it| it.subscriptions()).transpose();
    let known_before = known()?.map(|(count, _)| count);
    let each = bench.rooms / SOCKETS;
    let rooms = each * SOCKETS;
    let started = Instant::now();
    for first in (0..rooms).step_by(each) {
        let joins = (first..first + each).step_by(AT_ONCE);
        let joins = joins.map(|from| format!("join {from} {}", (first + each).min(from + AT_ONCE)));
        held.open(node.address(), "/rooms", &joins.collect::<Vec<_>>())?;
    }
    let to_join = started.elapsed();
    let subscriptions = match how {
        How::Alone => None,
        How::OneByOne => Some(rooms as u64),
        How::AllAtOnce => Some(1),
    };
    if let Some(count) = subscriptions {
        node.until_subscribed(OF_NAMESPACE + count)?;
        eventually("the broker to know them", PATIENCE, || {
            let known = known()?.map(|(known, _)| known);
            Ok((known == known_before.map(|before| before + count)).then_some(()))
        })?;
    }
    let to_subscribe = subscriptions.map(|_| started.elapsed());
    thread::sleep(SETTLE);
    let after = memory()?;
    let per_room = |after: u64, before: u64| (after as f64 - before as f64) / rooms as f64;
    let broker = after.1.zip(before.1);
    let mut sample = match how {
        How::Alone => Sample {
            figures: vec![None, None],
            ..Sample::default()
        },
        _ => publish(bench, &nodes)?,
    };
    nodes.check()?;
    let figures = [
        Some(to_join.as_secs_f64()),
        to_subscribe.map(|time| time.as_secs_f64()),
        Some(per_room(after.0, before.0)),
        broker.map(|(after, before)| per_room(after.rss, before.rss)),
    ];
    sample.figures.splice(0..0, figures);
    Ok(sample)
}

/// Publishes from the second node to a room that is on both: its latencies on the first.
fn publish(bench: &Bench<'_>, nodes: &Nodes) -> Result<Sample> {
    let broadcast = Broadcast {
        path: "/rooms".to_owned(),
        first: vec!["join 0 1".to_owned()],
        members: 2,
        publishers: 1,
        size: 64,
        pace: Pace::Rate(RATE),
    };
    let addresses = [nodes.node(1).address(), nodes.node(0).address()];
    let report = load::broadcast(&addresses, &broadcast, &nodes.window(bench))?;
    let there = report.nodes.last().context("there are two nodes")?;
    let figures = vec![Some(there.p50_us), Some(there.p99_us)];
    Ok(Sample::of(&report, figures))
}
