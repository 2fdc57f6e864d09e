//! Rooms that come and go: how many of them a node sustains when the other nodes have to know.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use super::nodes::{Joined, Nodes};
use super::table::{Case, Column, Measurement, Sample};
use crate::handshake;
use crate::load::DISTURBED;
use crate::measure::{Cpu, Memory};

/// Rooms that are joined or left in one call.
const AT_ONCE: usize = 250;
/// Rooms that are subscribed to before they are left again.
const ROUND: usize = 20_000;
/// What a namespace that somebody is in is subscribed to beside its rooms.
const OF_NAMESPACE: u64 = 2;

const COLUMNS: &[Column] = &[
    Column::new("thousand rooms/s", 1),
    Column::with_spread("node, CPU µs per room", 2),
    Column::with_spread("broker, CPU µs per room", 2),
    Column::new("subscriptions per room", 2),
    Column::new("s behind in the end", 2),
    Column::new("node, resident MB more", 1),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// As fast as it is answered: a room is left a call after it was joined.
    Freely,
    /// Each is subscribed to before it is left, and is not any more before the next ones are joined.
    Each,
}

/// Each room is joined and left once, and has a name of its own.
pub fn all() -> Vec<Measurement> {
    let case =
        |label: &str, joined, how| Case::new(label, move |bench| measure(bench, joined, how));
    let nats = Joined::Nats(1);
    vec![Measurement {
        name: "cluster-churn",
        title: "Rooms that are new, joined and left again".to_owned(),
        about: "One socket, 250 rooms in each call; rooms are subscribed to one by one. The time in which the node catches \
                up in the end counts. A room that is left before its turn has come costs the broker nothing.",
        columns: COLUMNS,
        most_runs: usize::MAX,
        cases: vec![
            case("alone, left with the next call", Joined::Alone, How::Freely),
            case("with NATS, left with the next call", nats, How::Freely),
            case(
                "alone, left when there are 20,000",
                Joined::Alone,
                How::Each,
            ),
            case(
                "with NATS, left when 20,000 are subscribed to",
                nats,
                How::Each,
            ),
        ],
    }]
}

fn measure(bench: &Bench<'_>, joined: Joined, how: How) -> Result<Sample> {
    let settings = [
        ("TULPAR_LIMITS_ROOMS_PER_NAMESPACE", "1000000"),
        ("TULPAR_LIMITS_ROOMS_PER_SOCKET", "1000000"),
        // Some hundred rooms in a call take a millisecond, but not on a machine that others use as well.
        ("TULPAR_LIMITS_DEADLINE_MS", "5000"),
        ("TULPAR_BACKPLANE_ROOMS", "1000000"),
    ];
    let nodes = Nodes::start(bench, joined, &settings)?;
    let mut churn = Churn::open(&nodes)?;
    // What is made once is made now.
    churn.round()?;
    let process = nodes.node(0).process();
    let memory = Memory::of(process)?;
    let looked = Look::at(&nodes)?;
    match how {
        How::Freely => churn.freely(bench)?,
        How::Each => {
            while looked.at.elapsed() < bench.duration {
                churn.round()?;
            }
        }
    }
    let asked = Instant::now();
    churn.until_subscribed(0)?;
    let now = Look::at(&nodes)?;
    nodes.check()?;
    let grown = Memory::of(process)?.rss as f64 - memory.rss as f64;
    let rooms = (churn.joined - ROUND) as f64;
    let seconds = (now.at - looked.at).as_secs_f64();
    let waiting = now.generator.since(looked.generator).waiting;
    let each = |now: Cpu, then: Cpu| now.since(then).running.as_secs_f64() * 1e6 / rooms;
    let broker = nodes.broker();
    Ok(Sample {
        figures: vec![
            Some(rooms / 1000.0 / seconds),
            Some(each(now.node, looked.node)),
            broker.map(|_| each(now.broker, looked.broker)),
            broker.map(|_| (now.subscribed - looked.subscribed) as f64 / rooms),
            broker
                .filter(|_| how == How::Freely)
                .map(|_| (now.at - asked).as_secs_f64()),
            Some(grown / 1e6),
        ],
        disturbed: waiting.as_secs_f64() / seconds > DISTURBED,
        ..Sample::default()
    })
}

/// What things had come to at a moment.
struct Look {
    node: Cpu,
    broker: Cpu,
    generator: Cpu,
    /// Subscriptions that the broker had made.
    subscribed: u64,
    at: Instant,
}

impl Look {
    fn at(nodes: &Nodes) -> Result<Self> {
        let broker = nodes.broker();
        let process = broker.map(|broker| broker.process());
        let subscribed = broker.map(|it| it.subscriptions()).transpose()?;
        Ok(Self {
            node: Cpu::of_all(&nodes.processes())?,
            broker: Cpu::of_all(process.as_slice())?,
            generator: Cpu::of_this_thread()?,
            subscribed: subscribed.map_or(0, |(_, made)| made),
            at: Instant::now(),
        })
    }
}

/// A socket that joins and leaves.
struct Churn<'a> {
    nodes: &'a Nodes,
    stream: TcpStream,
    /// Rooms that were joined so far.
    joined: usize,
}

impl<'a> Churn<'a> {
    fn open(nodes: &'a Nodes) -> Result<Self> {
        let (stream, _) = handshake::open(nodes.node(0).address(), "/rooms")?;
        let churn = Self {
            nodes,
            stream,
            joined: 0,
        };
        churn.until_subscribed(0)?;
        Ok(churn)
    }

    /// Joins so many new rooms, and leaves the oldest but for so many.
    fn turn(&mut self, fresh: usize, kept: usize) -> Result<()> {
        self.joined += fresh;
        handshake::ask(&mut self.stream, &format!("turn {fresh} {kept}"))
            .with_context(|| format!("after {} rooms", self.joined))
    }

    fn freely(&mut self, bench: &Bench<'_>) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < bench.duration {
            self.turn(AT_ONCE, AT_ONCE)?;
        }
        self.turn(0, 0)
    }

    fn round(&mut self) -> Result<()> {
        for _ in 0..ROUND / AT_ONCE {
            self.turn(AT_ONCE, ROUND)?;
        }
        self.until_subscribed(ROUND as u64)?;
        for kept in (0..ROUND).step_by(AT_ONCE).rev() {
            self.turn(0, kept)?;
        }
        self.until_subscribed(0)
    }

    fn until_subscribed(&self, rooms: u64) -> Result<()> {
        match self.nodes.broker() {
            Some(_) => self.nodes.node(0).until_subscribed(OF_NAMESPACE + rooms),
            None => Ok(()),
        }
    }
}
