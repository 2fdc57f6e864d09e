//! What was counted and measured of the neighbour in one phase.

use std::time::Duration;

/// What the neighbour's load saw of the messages that were due in one phase.
#[derive(Clone, Default, Debug)]
pub struct Figures {
    /// Messages sent.
    pub sent: u64,
    /// Messages that had to arrive: each comes back to its sender, or to everybody in the room.
    pub expected: u64,
    /// From when a message was due to when it arrived, in microseconds.
    latencies: Vec<u32>,
}

impl Figures {
    /// Notes an arrival.
    pub fn arrived(&mut self, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.latencies.push(micros);
    }

    /// Messages that arrived.
    pub fn received(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Messages that did not.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received())
    }

    /// The latency that so many of a hundred messages did not exceed; zero when there were none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
        let micros = sorted.get(rank.saturating_sub(1)).copied();
        Duration::from_micros(micros.unwrap_or_default().into())
    }

    /// The longest latency.
    pub fn max(&self) -> Duration {
        self.percentile(100.0)
    }

    /// Both phases as one.
    pub fn with(mut self, other: &Self) -> Self {
        self.sent += other.sent;
        self.expected += other.expected;
        self.latencies.extend(&other.latencies);
        self
    }
}
