//! Connections that do nothing, and what they cost in memory.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Fleet;
use crate::measure::Memory;

/// The first connections pay for what all share, and are not counted.
const FIRST: usize = 100;

/// What a server still does about its last connections.
const SETTLE: Duration = Duration::from_secs(1);

/// A number of idle connections.
#[derive(Debug, Clone)]
pub struct Idle {
    /// What they open.
    pub path: String,
    /// How many are counted.
    pub connections: usize,
}

/// What idle connections cost.
#[derive(Debug, Clone, Serialize)]
pub struct IdleReport {
    /// How many were opened between the two looks.
    pub connections: usize,
    /// The server's memory before them.
    pub before: Memory,
    /// The server's memory with them.
    pub after: Memory,
    /// The difference for each, in bytes: resident.
    pub rss_each: f64,
    /// The same, proportional.
    pub pss_each: f64,
}

/// Opens connections and looks at the server's memory.
///
/// # Errors
/// Not all connections can be opened.
pub fn idle(address: SocketAddr, idle: &Idle, process: u32) -> Result<IdleReport> {
    let paths = [idle.path.clone()];
    let mut fleet = Fleet::new()?;
    fleet.open(&[address], &paths, FIRST, &[])?;
    thread::sleep(SETTLE);
    let before = Memory::of(process)?;
    fleet.open(&[address], &paths, idle.connections, &[])?;
    thread::sleep(SETTLE);
    let after = Memory::of(process)?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / idle.connections as f64;
    Ok(IdleReport {
        connections: idle.connections,
        before,
        after,
        rss_each: each(after.rss, before.rss),
        pss_each: each(after.pss, before.pss),
    })
}
