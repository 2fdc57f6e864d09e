//! Who is in a room, on all nodes: asked when it is wanted, beside written down whenever it changes.

use std::net::SocketAddr;

use anyhow::Result;

use super::nodes::{Joined, Nodes};
use super::table::{Case, Column, Measurement, Sample};
use super::{Bench, bucket};
use crate::load::{self, Asks, Held};

const MEMBERS: usize = 300;

const COLUMNS: &[Column] = &[
    Column::new("thousand/s", 2),
    Column::new("p50 µs", 0),
    Column::new("p99 µs", 0),
    Column::with_spread("CPU µs each, all nodes", 1),
    Column::with_spread("CPU µs each, broker", 1),
];

/// The two ways.
pub fn all() -> Vec<Measurement> {
    let counts = |label: &str, joined| Case::new(label, move |bench| count(bench, joined));
    let puts = |label: &str, at_once| Case::new(label, move |bench| bucket::puts(bench, at_once));
    vec![Measurement {
        name: "cluster-presence",
        title: "How many are in a room on all nodes".to_owned(),
        about: "`cluster::room_count` gathers what each node has when somebody asks. Otherwise each join and each leave \
                would have to be put into a key-value bucket of NATS, here one in memory without copies; the CPU time of \
                the node is then that of the client of NATS alone.",
        columns: COLUMNS,
        most_runs: usize::MAX,
        cases: vec![
            counts("a count, 1 node, alone", Joined::Alone),
            counts("a count, 1 node, with NATS", Joined::Nats(1)),
            counts("a count, 2 nodes", Joined::Nats(2)),
            counts("a count, 3 nodes", Joined::Nats(3)),
            puts("a join or leave put into a bucket, one after the other", 1),
            puts("a join or leave put into a bucket, 256 at once", 256),
        ],
    }]
}

fn count(bench: &Bench<'_>, joined: Joined) -> Result<Sample> {
    let settings = [
        // Who asks waits for the others for no more than a part of its time, and counts without those that are late, as they
        // are now and then on a machine that others use as well.
        ("TULPAR_LIMITS_DEADLINE_MS", "20000"),
        ("TULPAR_BACKPLANE_REQUEST_MS", "10000"),
    ];
    let nodes = Nodes::start(bench, joined, &settings)?;
    let addresses = nodes.addresses();
    let _held = members(&addresses)?;
    let asks = Asks {
        path: "/rooms".to_owned(),
        sockets: 1,
        question: "count 0".to_owned(),
        answer: format!("{MEMBERS} on {}", addresses.len()),
    };
    let report = load::asks(&addresses[..1], &asks, &nodes.window(bench))?;
    nodes.check()?;
    let figures = vec![
        Some(report.rate / 1000.0),
        Some(report.p50_us),
        Some(report.p99_us),
        report.server_us,
        report.broker_us,
    ];
    Ok(Sample::of(&report, figures))
}

/// Members of one room, on the nodes in turn.
fn members(addresses: &[SocketAddr]) -> Result<Held> {
    let mut held = Held::default();
    for address in addresses.iter().cycle().take(MEMBERS) {
        held.open(*address, "/rooms", &["join 0 1".to_owned()])?;
    }
    Ok(held)
}
