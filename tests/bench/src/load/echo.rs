//! Each connection sends, and gets back what it has sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Fleet, Report, Tally, Traffic, Window, drive};
use crate::message::Messages;

/// Numbers that each connection has for itself, so that an answer to another is seen.
const NUMBERS_EACH: u64 = 1 << 30;

/// A load of echoes.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Where the connections go, in turn.
    pub paths: Vec<String>,
    /// How many there are.
    pub connections: usize,
    /// Messages that each has in flight. As many as came with one read are sent with one write.
    pub depth: usize,
    /// Bytes of a message.
    pub size: usize,
}

/// Runs a load of echoes against a server.
///
/// # Errors
/// The server loses, changes or reorders a message, or ends a connection.
pub fn echo(address: SocketAddr, echo: &Echo, window: &Window) -> Result<Report> {
    let mut fleet = Fleet::new()?;
    fleet.open(&[address], &echo.paths, echo.connections, &[])?;
    let mut traffic = Echoes {
        messages: Messages::new(echo.size)?,
        depth: echo.depth,
        connections: (0..echo.connections as u64).map(Connection::new).collect(),
        in_flight: 0,
        stopped: false,
        tally: Tally::new(1)?,
    };
    drive(&mut fleet, &mut traffic, window)
}

struct Echoes {
    messages: Messages,
    depth: usize,
    connections: Vec<Connection>,
    in_flight: u64,
    stopped: bool,
    tally: Tally,
}

struct Connection {
    /// The number to send next, and the one that has to come next.
    send: u64,
    receive: u64,
    /// When the messages in flight were sent.
    sent: VecDeque<Instant>,
}

impl Connection {
    fn new(index: u64) -> Self {
        let first = index * NUMBERS_EACH;
        Self {
            send: first,
            receive: first,
            sent: VecDeque::new(),
        }
    }
}

impl Traffic for Echoes {
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
        let connection = &mut self.connections[client];
        let number = self.messages.read(payload)?;
        ensure!(
            number == connection.receive,
            "message {number} came instead of {}",
            connection.receive
        );
        let sent = connection.sent.pop_front();
        let sent =
            sent.ok_or_else(|| anyhow::anyhow!("message {number} came before it was sent"))?;
        connection.receive += 1;
        self.in_flight -= 1;
        self.tally.count(client, now - sent);
        Ok(())
    }

    fn answer(&mut self, client: usize, now: Instant, out: &mut Vec<u8>) {
        let connection = &mut self.connections[client];
        while !self.stopped && connection.sent.len() < self.depth {
            self.messages.write(connection.send, out);
            connection.send += 1;
            connection.sent.push_back(now);
            self.in_flight += 1;
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
        self.in_flight
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
