//! What is measured. No scenario is made for one server: all get the same messages and windows.

use super::servers::Kind;
use crate::cores;
use crate::load::{Broadcast, Echo, Idle, Pace};

/// The most connections of any scenario, with those that idle connections are measured on top of.
pub const MOST_CONNECTIONS: u64 = 10_200;

/// Bytes of a message, unless the scenario is about their number.
const SIZE: usize = 64;

/// One kind of load, on some servers.
pub struct Scenario {
    /// What `--only` selects by, and the results are kept under.
    pub name: &'static str,
    /// What it is called in the results.
    pub title: &'static str,
    /// The load.
    pub load: Load,
    /// What Tulpar serves.
    pub plugins: Plugins,
    /// The servers that it is put on.
    pub servers: &'static [Kind],
    /// The cores that the server has.
    pub cores: &'static [usize],
}

/// A folder of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugins {
    /// Everything that is measured, and nothing else.
    All,
    /// The echo plugin for many tenants.
    Tenants,
    /// The same, but the file of each is another, as it is when tenants are strangers to each other.
    Strangers,
}

/// A kind of load.
pub enum Load {
    /// Connections that get back what they send.
    Echo(Echo),
    /// A room, or many.
    Broadcast(Broadcast),
    /// Connections that do nothing.
    Idle(Idle),
}

const OWN: &[Kind] = &[Kind::Tulpar];
const ALL: &[Kind] = &[Kind::Tulpar, Kind::Native, Kind::Bun, Kind::Ws, Kind::Bare];
const ONE_CORE: &[usize] = &[cores::SERVER];
/// With several messages in flight the bare loop can do better than one write for each.
const WITH_BATCHES: &[Kind] = &[
    Kind::Tulpar,
    Kind::Native,
    Kind::Bun,
    Kind::Ws,
    Kind::Bare,
    Kind::BareBatched,
];

/// All scenarios, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    vec![
        echo("echo-1", "Echo, 1 connection", 1, 1),
        echo("echo-64", "Echo, 64 connections", 64, 1),
        echo("echo-100", "Echo, 100 connections", 100, 1),
        echo("echo-1000", "Echo, 1,000 connections", 1_000, 1),
        echo("echo-10000", "Echo, 10,000 connections", 10_000, 1),
        namespaces(
            "namespaces-10",
            "Echo, 10,000 connections over 10 namespaces",
            10,
            10_000,
            ONE_CORE,
        ),
        namespaces(
            "namespaces-100",
            "Echo, 10,000 connections over 100 namespaces",
            100,
            10_000,
            ONE_CORE,
        ),
        strangers(
            "namespaces-10-different",
            "Echo, 10,000 connections over 10 namespaces, each with a plugin of its own",
            10,
        ),
        strangers(
            "namespaces-100-different",
            "Echo, 10,000 connections over 100 namespaces, each with a plugin of its own",
            100,
        ),
        namespaces(
            "cores-1",
            "Echo, 128 connections over 2 namespaces, the server on one core",
            2,
            128,
            ONE_CORE,
        ),
        namespaces(
            "cores-2",
            "Echo, 128 connections over 2 namespaces, server and generator on the same two cores",
            2,
            128,
            cores::BOTH,
        ),
        echo(
            "echo-64-pipelined-16",
            "Echo, 64 connections, 16 messages in flight on each",
            64,
            16,
        ),
        room(
            "room-100",
            "Room of 100, one publish in flight",
            100,
            1,
            SIZE,
        ),
        room(
            "room-1000",
            "Room of 1,000, one publish in flight",
            1_000,
            1,
            SIZE,
        ),
        room(
            "room-100-window-8",
            "Room of 100, 8 publishes in flight",
            100,
            8,
            SIZE,
        ),
        room(
            "room-1000-window-8",
            "Room of 1,000, 8 publishes in flight",
            1_000,
            8,
            SIZE,
        ),
        room(
            "room-1000-1KiB",
            "Room of 1,000, 1 KiB messages, one publish in flight",
            1_000,
            1,
            1024,
        ),
        rooms("rooms-1", "Every one of 100 sockets in 1 room", 1),
        rooms("rooms-100", "Every one of 100 sockets in 100 rooms", 100),
        rooms(
            "rooms-10000",
            "Every one of 100 sockets in 10,000 rooms",
            10_000,
        ),
        Scenario {
            name: "idle-10000",
            title: "10,000 idle connections",
            load: Load::Idle(Idle {
                path: "/echo".to_owned(),
                connections: 10_000,
            }),
            plugins: Plugins::All,
            servers: ALL,
            cores: ONE_CORE,
        },
    ]
}

impl Scenario {
    /// What the figures are for one of.
    pub fn unit(&self) -> &'static str {
        match self.load {
            Load::Echo(_) => "message",
            Load::Broadcast(_) => "delivery",
            Load::Idle(_) => "connection",
        }
    }
}

/// The folder of a tenant, and the beginning of its paths.
pub fn tenant(index: usize) -> String {
    format!("tenant-{index}")
}

fn tenant_paths(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("/{}/echo", tenant(index)))
        .collect()
}

fn echo(name: &'static str, title: &'static str, connections: usize, depth: usize) -> Scenario {
    let paths = vec!["/echo".to_owned()];
    let load = Load::Echo(Echo {
        paths,
        connections,
        depth,
        size: SIZE,
    });
    Scenario {
        name,
        title,
        load,
        plugins: Plugins::All,
        servers: ALL,
        cores: ONE_CORE,
    }
}

fn namespaces(
    name: &'static str,
    title: &'static str,
    count: usize,
    connections: usize,
    cores: &'static [usize],
) -> Scenario {
    let load = Load::Echo(Echo {
        paths: tenant_paths(count),
        connections,
        depth: 1,
        size: SIZE,
    });
    Scenario {
        name,
        title,
        load,
        plugins: Plugins::Tenants,
        servers: OWN,
        cores,
    }
}

fn strangers(name: &'static str, title: &'static str, count: usize) -> Scenario {
    Scenario {
        plugins: Plugins::Strangers,
        ..namespaces(name, title, count, 10_000, ONE_CORE)
    }
}

/// One publish in flight, each to the next one of the rooms.
fn rooms(name: &'static str, title: &'static str, rooms: usize) -> Scenario {
    // A call has a deadline, and so joins no more than this.
    const AT_ONCE: usize = 500;
    let joins = (0..rooms).step_by(AT_ONCE);
    let first = joins.map(|from| format!("join {from} {}", rooms.min(from + AT_ONCE)));
    let load = Load::Broadcast(Broadcast {
        path: "/rooms".to_owned(),
        first: first.collect(),
        members: 100,
        publishers: 1,
        size: SIZE,
        pace: Pace::Window(1),
    });
    Scenario {
        name,
        title,
        load,
        plugins: Plugins::All,
        servers: OWN,
        cores: ONE_CORE,
    }
}

fn room(
    name: &'static str,
    title: &'static str,
    members: usize,
    window: usize,
    size: usize,
) -> Scenario {
    let pace = Pace::Window(window);
    let load = Load::Broadcast(Broadcast {
        path: "/room".to_owned(),
        first: Vec::new(),
        members,
        publishers: 1,
        size,
        pace,
    });
    Scenario {
        name,
        title,
        load,
        plugins: Plugins::All,
        servers: if window > 1 { WITH_BATCHES } else { ALL },
        cores: ONE_CORE,
    }
}
