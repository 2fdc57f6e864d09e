//! What is told of a plugin to whoever asks: what it is doing, what it has done and what it costs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Known;
use crate::hub::Traffic;
use crate::plugin::describe::Loaded;
use crate::plugin::tally::{Decision, Tally};
use crate::quota::{Account, Held};

/// What a plugin is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It serves.
    Serving,
    /// It serves what it was before its file was replaced.
    RolledBack,
    /// It has failed too often and is left alone for a while.
    Quarantined,
    /// The operator does not want it served.
    Disabled,
    /// It cannot be served.
    Refused,
    /// None of its paths is served: middlewares that it names are missing.
    Blocked,
    /// Its file has not been looked at yet.
    Waiting,
}

/// One plugin of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// `NAME`, or `TENANT/NAME`.
    pub name: String,
    /// What it is doing.
    pub status: Status,
    /// Counts what it has consisted of since the server loaded it, from 1; none when nothing is loaded.
    pub generation: Option<u64>,
    /// What it is: the paths and names that it serves.
    pub serves: Vec<String>,
    /// The path of its namespace; none when it has none.
    pub namespace: Option<String>,
    /// Open sockets of its namespace.
    pub sockets: usize,
    /// The messages of its sockets.
    pub messages: Messages,
    /// What it uses at the moment.
    pub uses: Uses,
    /// How long it has had threads since it was loaded, all its calls together, in seconds.
    pub cpu_seconds: f64,
    /// The calls into it, by what they are for; what it was never called for is not there.
    pub calls: BTreeMap<String, Calls>,
    /// How often it has failed since it was loaded.
    pub failures: u64,
    /// How many of the failures were traps.
    pub traps: u64,
    /// How many of them took too long.
    pub overruns: u64,
    /// What its middleware made of requests: `next`, `respond`, `failed`. Nothing when it is none.
    pub decisions: BTreeMap<String, u64>,
    /// The responses to requests to its controller, by the class of their status: `2xx` to `5xx`. Nothing when it is none.
    pub responses: BTreeMap<String, u64>,
    /// Whether the schedules of its service run on this node; none when it has none.
    pub schedules_run: Option<bool>,
    /// How often its file was replaced while it served.
    pub replaced: u64,
    /// How often that failed when the new one was to take over.
    pub replacements_failed: u64,
    /// How often it has been in quarantine.
    pub quarantines: u64,
    /// Whether there is something to roll it back to.
    pub has_previous: bool,
    /// The paths that are not served, and the middlewares that each waits for.
    #[serde(default)]
    pub missing: BTreeMap<String, Vec<String>>,
    /// Why its file, as it is now, is not served.
    pub refusal: Option<String>,
    /// The inode of the file of which all of this is told; none when there is a newer one that has still to be loaded. Only in
    /// the server.
    #[serde(skip)]
    pub inode: Option<u64>,
}

/// The messages of a namespace since it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// Those of its clients.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Those to its clients; one to a room counts once for each member.
    pub sent: u64,
    /// Their bytes before they are compressed.
    pub sent_bytes: u64,
    /// Those of them that were dropped, because their peers read too slowly.
    pub dropped: u64,
    /// Sockets that were closed for that.
    pub slow_consumers: u64,
}

/// What a plugin uses at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uses {
    /// Instances.
    pub instances: u64,
    /// Linear memory of these, in bytes.
    pub memory_bytes: u64,
    /// Rooms of its namespace.
    pub rooms: u64,
    /// Messages that wait to be written, in bytes, each once however many sockets it is for, and what middlewares respond. Of
    /// messages counted only where `quotas.queued-bytes` bounds it, which is for tenants.
    pub queued_bytes: u64,
}

/// The calls of one kind into a plugin since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Calls {
    /// How many there were.
    pub count: u64,
    /// How long they took together, in seconds.
    pub seconds: f64,
    /// How many took up to so many seconds and longer than the one before; only in the server.
    #[serde(skip)]
    pub buckets: Vec<(f64, u64)>,
}

impl From<&Traffic> for Messages {
    fn from(traffic: &Traffic) -> Self {
        Self {
            received: traffic.received(),
            received_bytes: traffic.received_bytes(),
            sent: traffic.sent(),
            sent_bytes: traffic.sent_bytes(),
            dropped: traffic.dropped(),
            slow_consumers: traffic.slow(),
        }
    }
}

impl From<&Account> for Uses {
    fn from(account: &Account) -> Self {
        Self {
            instances: account.used(Held::Instances),
            memory_bytes: account.used(Held::Memory),
            rooms: account.used(Held::Rooms),
            queued_bytes: account.used(Held::Queued),
        }
    }
}

fn calls(tally: &Tally) -> BTreeMap<String, Calls> {
    let times = tally.times().into_iter().map(|(call, taken)| {
        let calls = Calls {
            count: taken.count,
            seconds: taken.seconds,
            buckets: taken.buckets,
        };
        (call.name().to_owned(), calls)
    });
    times.collect()
}

fn decisions(tally: &Tally) -> BTreeMap<String, u64> {
    let all = Decision::ALL.into_iter();
    all.map(|it| (it.name().to_owned(), tally.decisions(it)))
        .collect()
}

impl From<&Known> for PluginInfo {
    fn from(known: &Known) -> Self {
        let plugin = known.loaded.as_ref().map(|loaded| &loaded.plugin);
        let quarantined = plugin.is_some_and(|plugin| plugin.quarantined().is_some());
        let loaded = known.loaded.as_deref();
        let tally = plugin.map(|plugin| plugin.tally());
        let namespace = loaded.and_then(|it| it.namespace.as_ref());
        let is_middleware = loaded.is_some_and(|it| it.middleware.is_some());
        let service = loaded.and_then(|it| it.service.as_ref());
        let has_schedules = service.is_some_and(|it| !it.schedules.is_empty());
        let is_controller = loaded.is_some_and(|it| it.controller.is_some());
        Self {
            name: known.name.clone(),
            status: match &known.loaded {
                Some(_) if quarantined => Status::Quarantined,
                Some(loaded) if is_blocked(loaded, &known.missing) => Status::Blocked,
                Some(_) if known.rolled_back => Status::RolledBack,
                Some(_) => Status::Serving,
                None if known.disabled => Status::Disabled,
                None if known.refusal.is_some() => Status::Refused,
                None => Status::Waiting,
            },
            generation: known.loaded.as_ref().map(|it| it.generation.number),
            serves: known.loaded.as_deref().map(serves).unwrap_or_default(),
            namespace: namespace.map(|it| it.sockets.path().to_owned()),
            sockets: namespace.map_or(0, |namespace| namespace.sockets.len()),
            messages: namespace.map_or_else(Messages::default, |it| it.sockets.traffic().into()),
            uses: plugin.map_or_else(Uses::default, |plugin| plugin.account().into()),
            cpu_seconds: tally.map_or(0.0, |tally| tally.computed().as_secs_f64()),
            calls: tally.map(calls).unwrap_or_default(),
            failures: plugin.map_or(0, |plugin| plugin.failures()),
            traps: tally.map_or(0, Tally::traps),
            overruns: tally.map_or(0, Tally::overruns),
            decisions: tally
                .filter(|_| is_middleware)
                .map(decisions)
                .unwrap_or_default(),
            responses: tally
                .filter(|_| is_controller)
                .map(|tally| tally.responses().collect())
                .unwrap_or_default(),
            schedules_run: tally.filter(|_| has_schedules).map(Tally::schedules_run),
            replaced: tally.map_or(0, Tally::replaced),
            replacements_failed: tally.map_or(0, Tally::refused),
            quarantines: plugin.map_or(0, |plugin| plugin.quarantines()),
            has_previous: known.has_previous,
            missing: known.missing.clone(),
            refusal: known.refusal.clone(),
            inode: known.inode,
        }
    }
}

/// Whether all paths of a plugin that has some are among these.
fn is_blocked(loaded: &Loaded, missing: &BTreeMap<String, Vec<String>>) -> bool {
    let namespace = loaded.namespace.is_some();
    let paths = usize::from(namespace) + usize::from(loaded.controller.is_some());
    paths > 0 && missing.len() >= paths
}

/// What a plugin is, in words.
fn serves(loaded: &Loaded) -> Vec<String> {
    let namespace = loaded
        .namespace
        .iter()
        .map(|it| it.sockets.path().to_owned());
    let controller = loaded.controller.iter().map(|it| format!("{}/", it.mount));
    let service = loaded
        .service
        .iter()
        .map(|it| format!("service {}", it.name));
    let middleware = loaded
        .middleware
        .iter()
        .map(|it| format!("middleware {it}"));
    namespace
        .chain(controller)
        .chain(service)
        .chain(middleware)
        .collect()
}
