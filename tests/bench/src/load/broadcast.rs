//! Everybody is in one room, some publish to it, and each message goes to every member.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::thread::set_current_timer_slack;

use super::{Fleet, Report, Tally, Traffic, Window, drive};
use crate::message::Messages;

/// How often the publishers say something until each member hears all of them.
const AGAIN: Duration = Duration::from_millis(100);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A load of publishes.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// What a connection opens to be a member.
    pub path: String,
    /// What a connection says first. Each is answered with one message.
    pub first: Vec<String>,
    /// How many there are.
    pub members: usize,
    /// How many of them publish, in turn.
    pub publishers: usize,
    /// Bytes of a message.
    pub size: usize,
    /// When the next publish goes out.
    pub pace: Pace,
}

/// When the next publish goes out.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// When fewer than so many are in flight. One is in flight until every member has it.
    Window(usize),
    /// So many times a second, whatever has become of the last ones.
    Rate(f64),
}

/// Runs a load of publishes against a server, or against the nodes of one: the members are on each in turn.
///
/// # Errors
/// The server loses, changes or repeats a message, reorders one publisher's, or ends a connection.
pub fn broadcast(
    addresses: &[SocketAddr],
    broadcast: &Broadcast,
    window: &Window,
) -> Result<Report> {
    let Broadcast {
        members,
        publishers,
        ..
    } = *broadcast;
    ensure!(
        (1..=members).contains(&publishers),
        "from 1 to {members} members can publish"
    );
    let mut fleet = Fleet::new()?;
    let paths = std::slice::from_ref(&broadcast.path);
    fleet.open(addresses, paths, members, &broadcast.first)?;
    gather(&mut fleet, broadcast)?;
    let mut traffic = Publishes {
        messages: Messages::new(broadcast.size)?,
        pace: broadcast.pace,
        members: members as u64,
        publishers: publishers as u64,
        expected: (0..members).flat_map(|_| 0..publishers as u64).collect(),
        published: 0,
        completed: 0,
        in_flight: VecDeque::new(),
        started: Instant::now(),
        stopped: false,
        tally: Tally::new(addresses.len())?,
        out: vec![Vec::new(); publishers],
    };
    match broadcast.pace {
        Pace::Window(_) => drive(&mut fleet, &mut traffic, window),
        Pace::Rate(_) => {
            // The kernel may wake this thread 50 µs late otherwise, which would count as latency.
            set_current_timer_slack(Some(NonZeroU64::MIN))?;
            let report = drive(&mut fleet, &mut traffic, window);
            set_current_timer_slack(None)?;
            report
        }
    }
}

/// Waits until each member hears all publishers: it is in the room a moment after its handshake, and other nodes know of
/// that another moment later.
fn gather(fleet: &mut Fleet, broadcast: &Broadcast) -> Result<()> {
    let mut gathering = Gathering {
        messages: Messages::new(broadcast.size)?,
        publishers: broadcast.publishers,
        heard: vec![None; broadcast.members * broadcast.publishers],
        said: 0,
        said_at: None,
        tally: Tally::new(1)?,
    };
    let started = Instant::now();
    gathering.start(fleet)?;
    while gathering.in_flight() > 0 {
        fleet.turn(&mut gathering)?;
        ensure!(
            started.elapsed() < PATIENCE,
            "the members do not hear each other within {PATIENCE:?}"
        );
    }
    Ok(())
}

/// Each publisher says something again and again, until every member has heard all of them. What was said until then is on
/// its way to everybody, and waited for: nothing of it is left when the load begins.
struct Gathering {
    messages: Messages,
    publishers: usize,
    /// For each member, the last that it has heard of each publisher.
    heard: Vec<Option<u64>>,
    /// How often each has said something.
    said: u64,
    said_at: Option<Instant>,
    /// Nothing is counted.
    tally: Tally,
}

impl Traffic for Gathering {
    fn start(&mut self, fleet: &mut Fleet) -> Result<()> {
        self.turned(fleet)
    }

    fn message(&mut self, client: usize, payload: &[u8], _now: Instant) -> Result<()> {
        let number = self.messages.read(payload)?;
        let publishers = self.publishers as u64;
        let (turn, publisher) = (number / publishers, (number % publishers) as usize);
        let heard = &mut self.heard[client * self.publishers + publisher];
        // Who hears somebody once misses nothing any more.
        ensure!(
            turn < self.said && heard.is_none_or(|last| turn == last + 1),
            "message {turn} of publisher {publisher} came behind {heard:?}"
        );
        *heard = Some(turn);
        Ok(())
    }

    fn answer(&mut self, _client: usize, _now: Instant, _out: &mut Vec<u8>) {}

    fn turned(&mut self, fleet: &mut Fleet) -> Result<()> {
        let is_early = self.said_at.is_some_and(|at| at.elapsed() < AGAIN);
        if is_early || self.heard.iter().all(Option::is_some) {
            return Ok(());
        }
        let mut out = Vec::new();
        for publisher in 0..self.publishers {
            let number = self.said * self.publishers as u64 + publisher as u64;
            self.messages.write(number, &mut out);
            fleet.send(publisher, &out)?;
            out.clear();
        }
        self.said += 1;
        self.said_at = Some(Instant::now());
        Ok(())
    }

    fn due(&self) -> Option<Duration> {
        None
    }

    fn stop(&mut self) {}

    fn in_flight(&self) -> u64 {
        let last = self.said.checked_sub(1);
        self.heard.iter().filter(|heard| **heard != last).count() as u64
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

struct Publishes {
    messages: Messages,
    pace: Pace,
    members: u64,
    publishers: u64,
    /// For each member, the number that has to come next from each publisher.
    expected: Vec<u64>,
    /// The number of the next publish.
    published: u64,
    /// Up to here all were delivered to all.
    completed: u64,
    /// The ones from there on.
    in_flight: VecDeque<Publish>,
    /// What an open loop counts from.
    started: Instant,
    stopped: bool,
    tally: Tally,
    /// What each publisher sends in this turn.
    out: Vec<Vec<u8>>,
}

struct Publish {
    at: Instant,
    /// Members that do not have it yet.
    missing: u64,
}

impl Publishes {
    fn publish(&mut self, at: Instant) {
        let publisher = (self.published % self.publishers) as usize;
        self.messages
            .write(self.published, &mut self.out[publisher]);
        self.in_flight.push_back(Publish {
            at,
            missing: self.members,
        });
        self.published += 1;
    }

    /// When an open loop publishes next.
    fn next(&self, rate: f64) -> Instant {
        self.started + Duration::from_secs_f64(self.published as f64 / rate)
    }
}

impl Traffic for Publishes {
    fn start(&mut self, fleet: &mut Fleet) -> Result<()> {
        self.started = Instant::now();
        self.turned(fleet)
    }

    fn message(&mut self, client: usize, payload: &[u8], now: Instant) -> Result<()> {
        let number = self.messages.read(payload)?;
        let publisher = number % self.publishers;
        let expected = &mut self.expected[client * self.publishers as usize + publisher as usize];
        ensure!(
            number == *expected,
            "message {number} came instead of {expected}"
        );
        *expected += self.publishers;
        let index = number
            .checked_sub(self.completed)
            .map(|index| index as usize);
        let publish = index.and_then(|index| self.in_flight.get_mut(index));
        let publish =
            publish.ok_or_else(|| anyhow::anyhow!("message {number} is not in flight"))?;
        publish.missing -= 1;
        self.tally.count(client, now - publish.at);
        while self
            .in_flight
            .front()
            .is_some_and(|publish| publish.missing == 0)
        {
            self.in_flight.pop_front();
            self.completed += 1;
        }
        Ok(())
    }

    fn answer(&mut self, _client: usize, _now: Instant, _out: &mut Vec<u8>) {}

    fn turned(&mut self, fleet: &mut Fleet) -> Result<()> {
        if self.stopped {
            return Ok(());
        }
        let now = Instant::now();
        match self.pace {
            Pace::Window(window) => {
                while self.in_flight.len() < window {
                    self.publish(now);
                }
            }
            Pace::Rate(rate) => {
                while self.next(rate) <= now {
                    self.publish(self.next(rate));
                }
            }
        }
        for (publisher, out) in self
            .out
            .iter_mut()
            .enumerate()
            .filter(|(_, out)| !out.is_empty())
        {
            fleet.send(publisher, out)?;
            out.clear();
        }
        Ok(())
    }

    fn due(&self) -> Option<Duration> {
        match self.pace {
            Pace::Rate(rate) if !self.stopped => {
                Some(self.next(rate).saturating_duration_since(Instant::now()))
            }
            _ => None,
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn in_flight(&self) -> u64 {
        self.in_flight.iter().map(|publish| publish.missing).sum()
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
