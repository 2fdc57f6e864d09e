//! Each socket asks, and asks again when it has its answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Fleet, Report, Tally, Traffic, Window, drive};
use crate::message::client_frame;

/// A load of questions.
#[derive(Debug, Clone)]
pub struct Asks {
    /// Where the sockets are.
    pub path: String,
    /// How many ask.
    pub sockets: usize,
    /// What they ask.
    pub question: String,
    /// What has to come.
    pub answer: String,
}

/// Runs a load of questions against a server, or against the nodes of one.
///
/// # Errors
/// The server answers something else, or ends a connection.
pub fn asks(addresses: &[SocketAddr], asks: &Asks, window: &Window) -> Result<Report> {
    let mut fleet = Fleet::new()?;
    let paths = std::slice::from_ref(&asks.path);
    fleet.open(addresses, paths, asks.sockets, &[])?;
    let mut traffic = Questions {
        question: client_frame(&asks.question),
        answer: asks.answer.clone(),
        asked: vec![None; asks.sockets],
        stopped: false,
        tally: Tally::new(addresses.len())?,
    };
    drive(&mut fleet, &mut traffic, window)
}

struct Questions {
    /// Its frame.
    question: Vec<u8>,
    answer: String,
    /// When each socket has asked what is not answered yet.
    asked: Vec<Option<Instant>>,
    stopped: bool,
    tally: Tally,
}

impl Traffic for Questions {
    fn start(&mut self, fleet: &mut Fleet) -> Result<()> {
        let mut out = Vec::new();
        for client in 0..fleet.len() {
            self.answer(client, Instant::now(), &mut out);
            fleet.send(client, &out)?;
            out.clear();
        }
        Ok(())
    }

    fn message(&mut self, client: usize, payload: &[u8], now: Instant) -> Result<()> {
        ensure!(
            payload == self.answer.as_bytes(),
            "`{}` came instead of `{}`",
            String::from_utf8_lossy(payload),
            self.answer
        );
        let asked = self.asked[client].take();
        let asked = asked.ok_or_else(|| anyhow::anyhow!("an answer came to no question"))?;
        self.tally.count(client, now - asked);
        Ok(())
    }

    fn answer(&mut self, client: usize, now: Instant, out: &mut Vec<u8>) {
        if !self.stopped && self.asked[client].is_none() {
            out.extend_from_slice(&self.question);
            self.asked[client] = Some(now);
        }
    }

    fn turned(&mut self, _fleet: &mut Fleet) -> Result<()> {
        Ok(())
    }

    fn due(&self) -> Option<Duration> {
        None
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn in_flight(&self) -> u64 {
        self.asked.iter().flatten().count() as u64
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
