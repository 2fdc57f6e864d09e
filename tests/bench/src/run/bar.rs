//! What the server is held to, and whether it holds.

use super::results::Results;
use super::servers::Kind::{self, Bare, Bun, Native, Tulpar};

/// One demand.
pub struct Row {
    /// What is demanded.
    pub what: String,
    /// What was measured; none when it was not part of this run.
    pub figure: Option<String>,
    /// Whether it is as demanded.
    pub holds: bool,
}

/// All demands.
pub fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    // What costs at most how many times what.
    for (what, own, most, other) in [
        (
            "echo, 64 connections",
            (Tulpar, "echo-64"),
            1.0,
            (Bun, "echo-64"),
        ),
        (
            "echo, 64 connections",
            (Tulpar, "echo-64"),
            1.25,
            (Bare, "echo-64"),
        ),
        (
            "echo, 1,000 connections",
            (Tulpar, "echo-1000"),
            1.0,
            (Bun, "echo-1000"),
        ),
        (
            "echo, 1,000 connections",
            (Tulpar, "echo-1000"),
            1.25,
            (Bare, "echo-1000"),
        ),
        ("room of 100", (Tulpar, "room-100"), 1.0, (Bun, "room-100")),
        (
            "room of 100",
            (Tulpar, "room-100"),
            1.15,
            (Bare, "room-100"),
        ),
        (
            "room of 1,000",
            (Tulpar, "room-1000"),
            1.0,
            (Bun, "room-1000"),
        ),
        (
            "room of 1,000",
            (Tulpar, "room-1000"),
            1.15,
            (Bare, "room-1000"),
        ),
        (
            "room of 100, 8 in flight",
            (Tulpar, "room-100-window-8"),
            0.7,
            (Bun, "room-100-window-8"),
        ),
        (
            "room of 1,000, 8 in flight",
            (Tulpar, "room-1000-window-8"),
            0.7,
            (Bun, "room-1000-window-8"),
        ),
        (
            "a plugin as the handler, 64 connections",
            (Tulpar, "echo-64"),
            1.1,
            (Native, "echo-64"),
        ),
        (
            "100 namespaces of 100 sockets with the same plugin, beside one of 10,000",
            (Tulpar, "namespaces-100"),
            1.2,
            (Tulpar, "echo-10000"),
        ),
        (
            "the same, each with a plugin of its own",
            (Tulpar, "namespaces-100-different"),
            1.2,
            (Tulpar, "echo-10000"),
        ),
        (
            "100 members in 10,000 rooms, beside 1 room",
            (Tulpar, "rooms-10000"),
            1.2,
            (Tulpar, "rooms-1"),
        ),
        (
            "2 busy namespaces on 2 cores, beside 1 core",
            (Tulpar, "cores-2"),
            1.2,
            (Tulpar, "cores-1"),
        ),
    ] {
        rows.push(at_most(results, what, own, most, other));
    }
    rows.push(pipelined(results));
    let idle = cost(results, (Tulpar, "idle-10000"));
    rows.push(row(
        "10,000 idle connections: at most 3 KiB of user memory each",
        idle.map(|bytes| (format!("{bytes:.0} bytes"), bytes <= 3.0 * 1024.0)),
    ));
    for (what, name, most) in [
        ("loading a cached plugin: under 5 ms", "load", 5e6),
        (
            "a new instance and its first call: under 50 µs",
            "instance",
            50e3,
        ),
    ] {
        let nanoseconds = results.inside(name);
        rows.push(row(
            what,
            nanoseconds.map(|ns| (format!("{:.1} µs", ns / 1e3), ns < most)),
        ));
    }
    rows
}

/// What a scenario costs on a server.
type Cost = (Kind, &'static str);

fn cost(results: &Results, (kind, scenario): Cost) -> Option<f64> {
    results.cost(scenario, kind).map(|figure| figure.median)
}

fn at_most(results: &Results, what: &str, own: Cost, most: f64, other: Cost) -> Row {
    let whose = match other.0 {
        Bun => " raw Bun's CPU",
        Bare => " the bare loop's CPU",
        Native => " a native handler's CPU",
        _ => " the CPU",
    };
    let measured = || {
        let ratio = results.ratio(own, other)?;
        let (own, other) = (cost(results, own)?, cost(results, other)?);
        let figure = format!("{ratio:.2}x ({own:.2} and {other:.2} µs)");
        Some((figure, ratio <= most))
    };
    row(&format!("{what}: at most {most}x{whose}"), measured())
}

fn pipelined(results: &Results) -> Row {
    const MOST: f64 = 0.4;
    const NAME: &str = "echo-64-pipelined-16";
    let costs = cost(results, (Tulpar, NAME)).zip(cost(results, (Native, NAME)));
    row(
        &format!(
            "a plugin as the handler, 16 messages in flight: at most {MOST} µs more than a native handler"
        ),
        costs.map(|(plugin, native)| {
            let figure = format!("{:.2} µs ({plugin:.2} and {native:.2} µs)", plugin - native);
            (figure, plugin - native <= MOST)
        }),
    )
}

fn row(what: &str, measured: Option<(String, bool)>) -> Row {
    Row {
        what: what.to_owned(),
        holds: measured.as_ref().is_some_and(|(_, holds)| *holds),
        figure: measured.map(|(figure, _)| figure),
    }
}
