//! The load generator: one thread, one epoll, any number of connections.
//!
//! [`echo`], [`broadcast`] and [`asks`] say what is sent and check what comes; [`drive`] takes each through its warm-up,
//! the measured window and the wait for what is still in flight. [`idle`] only opens connections and looks at memory,
//! [`Held`] are connections that are only there.

mod asks;
mod broadcast;
mod echo;
mod fleet;
mod held;
mod idle;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;

pub use asks::{Asks, asks};
pub use broadcast::{Broadcast, Pace, broadcast};
pub use echo::{Echo, echo};
use fleet::{Fleet, Traffic};
pub use held::Held;
pub use idle::{Idle, IdleReport, idle};

use crate::measure::Cpu;

/// With more of its core than this the generator may be what limits the rate.
pub const BUSY: f64 = 0.9;
/// With more than this of the window spent waiting for its core, something else was running there.
pub const DISTURBED: f64 = 0.05;

/// A server that answers nothing for so long has lost something.
const STALL: Duration = Duration::from_secs(5);

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// For so long.
    Time(Duration),
    /// Until so many messages have come.
    Messages(u64),
}

/// When to measure, and whom.
#[derive(Debug, Clone)]
pub struct Window {
    /// What comes before, with the same load, at least.
    pub warm_up: Duration,
    /// What is measured.
    pub length: Length,
    /// The server's process, when its CPU time is wanted: several when the server has several nodes.
    pub processes: Vec<u32>,
    /// The process of the broker between the nodes, when its CPU time is wanted.
    pub broker: Option<u32>,
}

/// What a measured window has brought. A message is one that came to a client: of a broadcast, each delivery.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Messages that came within the window. All were checked.
    pub messages: u64,
    /// How long the window was.
    pub seconds: f64,
    /// Messages per second.
    pub rate: f64,
    /// Latency in microseconds that half of the messages did not exceed: from writing to the socket, or from the time
    /// at which an open loop should have written, to the read that brought it.
    pub p50_us: f64,
    /// The same for 99 of 100.
    pub p99_us: f64,
    /// The same for 999 of 1,000.
    pub p999_us: f64,
    /// The same for what came from each of several nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Latency>,
    /// The server's CPU time per message, in microseconds, system calls included.
    pub server_us: Option<f64>,
    /// The server's share of one core.
    pub server_share: Option<f64>,
    /// The broker's CPU time per message, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_us: Option<f64>,
    /// The generator's share of its core.
    pub generator_share: f64,
    /// The part of the window in which the generator could have run, but its core was with another process.
    pub generator_waiting: f64,
}

/// A latency in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// That half of the messages did not exceed.
    pub p50_us: f64,
    /// The same for 99 of 100.
    pub p99_us: f64,
}

impl Report {
    /// Whether something else ran on the generator's core.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.generator_waiting > DISTURBED
    }

    /// What makes these figures doubtful.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let mut warnings = Vec::new();
        if self.generator_share > BUSY {
            warnings.push(format!(
                "the generator used {} of its core and may be the bottleneck: trust the CPU time, not the rate",
                percent(self.generator_share)
            ));
        }
        if self.disturbed() {
            warnings.push(format!(
                "other processes kept the generator off its core for {} of the window",
                percent(self.generator_waiting)
            ));
        }
        warnings
    }
}

/// What is counted between two looks at the clock.
struct Tally {
    messages: u64,
    /// In nanoseconds, for each node.
    latencies: Vec<Histogram<u64>>,
}

impl Tally {
    fn new(nodes: usize) -> Result<Self> {
        let longest = Duration::from_secs(60).as_nanos() as u64;
        Ok(Self {
            messages: 0,
            latencies: vec![Histogram::new_with_bounds(1, longest, 3)?; nodes],
        })
    }

    /// Counts a message of a client, which is on the node whose turn it was.
    fn count(&mut self, client: usize, latency: Duration) {
        self.messages += 1;
        let node = client % self.latencies.len();
        self.latencies[node].saturating_record(latency.as_nanos() as u64);
    }

    fn clear(&mut self) {
        self.messages = 0;
        self.latencies.iter_mut().for_each(Histogram::clear);
    }

    fn all(&self) -> Result<Histogram<u64>> {
        let mut all = self.latencies[0].clone();
        for latencies in &self.latencies[1..] {
            all.add(latencies)?;
        }
        Ok(all)
    }
}

/// A quantile of latencies, in microseconds.
fn quantile(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1000.0
}

/// A window that has begun.
struct Opened {
    at: Instant,
    server: Cpu,
    broker: Cpu,
    generator: Cpu,
}

impl Opened {
    fn new(window: &Window) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: Cpu::of_all(&window.processes)?,
            broker: Cpu::of_all(window.broker.as_slice())?,
            generator: Cpu::of_this_thread()?,
        })
    }

    fn close(self, tally: &Tally, window: &Window) -> Result<Report> {
        let now = Self::new(window)?;
        let seconds = (now.at - self.at).as_secs_f64();
        let messages = tally.messages as f64;
        let all = tally.all()?;
        let nodes = tally.latencies.iter().map(|latencies| Latency {
            p50_us: quantile(latencies, 0.5),
            p99_us: quantile(latencies, 0.99),
        });
        let server = now.server.since(self.server).running.as_secs_f64();
        let server = (!window.processes.is_empty()).then_some(server);
        let broker = now.broker.since(self.broker).running.as_secs_f64();
        let broker = window.broker.map(|_| broker);
        let generator = now.generator.since(self.generator);
        Ok(Report {
            messages: tally.messages,
            seconds,
            rate: messages / seconds,
            p50_us: quantile(&all, 0.5),
            p99_us: quantile(&all, 0.99),
            p999_us: quantile(&all, 0.999),
            nodes: nodes.filter(|_| tally.latencies.len() > 1).collect(),
            server_us: server.map(|server| server * 1e6 / messages),
            server_share: server.map(|server| server / seconds),
            broker_us: broker.map(|broker| broker * 1e6 / messages),
            generator_share: generator.running.as_secs_f64() / seconds,
            generator_waiting: generator.waiting.as_secs_f64() / seconds,
        })
    }
}

/// Takes a load through warm-up and window, and waits for what is still in flight: every message must come.
///
/// The warm-up lasts until as many messages have come as there are connections, however short it is meant to be.
fn drive(fleet: &mut Fleet, traffic: &mut impl Traffic, window: &Window) -> Result<Report> {
    let started = Instant::now();
    let mut progress = (started, 0);
    let mut opened = None;
    let mut report = None;
    let clients = fleet.len() as u64;
    traffic.start(fleet)?;
    loop {
        fleet.turn(traffic)?;
        let now = Instant::now();
        let in_flight = traffic.in_flight();
        if report.is_some() && in_flight == 0 {
            break;
        }
        let tally = traffic.tally();
        if tally.messages != progress.1 {
            progress = (now, tally.messages);
        }
        ensure!(
            now - progress.0 < STALL,
            "nothing came for {STALL:?}, with {in_flight} messages in flight"
        );
        match &opened {
            None if report.is_none()
                && now - started >= window.warm_up
                && tally.messages >= clients =>
            {
                tally.clear();
                opened = Some(Opened::new(window)?);
            }
            Some(Opened { at, .. }) => {
                let over = match window.length {
                    Length::Time(length) => now - *at >= length && tally.messages > 0,
                    Length::Messages(messages) => tally.messages >= messages,
                };
                if over {
                    let opened = opened.take();
                    report = opened
                        .map(|opened| opened.close(tally, window))
                        .transpose()?;
                    traffic.stop();
                }
            }
            None => {}
        }
    }
    report.ok_or_else(|| anyhow::anyhow!("the load ended before its window"))
}
