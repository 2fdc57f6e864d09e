//! The numbers of each plugin: taken from what the operator's list tells, when somebody reads them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{PluginInfo, Status};
use crate::config::ROOT;

/// Plugins that have numbers of their own here. Each has some dozens of series, and a monitoring system keeps all that it has
/// ever seen.
const MOST: usize = 1000;

/// What is told of the plugins, once.
#[derive(Debug)]
pub(super) struct Plugins(pub(super) Vec<PluginInfo>);

/// One number of a plugin, or several, each with the value of a label more.
enum Numbers {
    Level(u64),
    Count(u64),
    /// A count that is none of whole things.
    Amount(f64),
    Counts(&'static str, Vec<(String, u64)>),
    Times(Vec<(String, Times)>),
    /// This plugin has none of that.
    None,
}

struct Times {
    seconds: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

/// A name, what it means, its unit, and where it comes from.
type Family = (
    &'static str,
    &'static str,
    Option<Unit>,
    fn(&PluginInfo) -> Numbers,
);

/// All of them. The unit and, where something is counted, `total` are written behind the name.
const FAMILIES: &[Family] = {
    use Numbers::{Amount, Count, Counts, Level};
    &[
        (
            "plugin_serving",
            "Whether a plugin serves: 1, or 0",
            None,
            |it| {
                let serves = matches!(it.status, Status::Serving | Status::RolledBack);
                Level(serves.into())
            },
        ),
        (
            "plugin_quarantined",
            "Whether a plugin is in quarantine: 1, or 0",
            None,
            |it| Level((it.status == Status::Quarantined).into()),
        ),
        (
            "plugin_generation",
            "Counts what a plugin has consisted of since the server loaded it",
            None,
            |it| Level(it.generation.unwrap_or(0)),
        ),
        ("plugin_instances", "Instances of a plugin", None, |it| {
            Level(it.uses.instances)
        }),
        (
            "plugin_memory",
            "Linear memory of a plugin's instances",
            Some(Unit::Bytes),
            |it| Level(it.uses.memory_bytes),
        ),
        (
            "plugin_cpu",
            "Time for which a plugin's calls had threads",
            Some(Unit::Seconds),
            |it| Amount(it.cpu_seconds),
        ),
        (
            "plugin_call",
            "How long calls into a plugin took",
            Some(Unit::Seconds),
            |it| {
                let calls = it.calls.iter().map(|(call, calls)| {
                    let times = Times {
                        seconds: calls.seconds,
                        count: calls.count,
                        buckets: calls.buckets.clone(),
                    };
                    (call.clone(), times)
                });
                Numbers::Times(calls.collect())
            },
        ),
        (
            "plugin_failures",
            "Calls into a plugin that came to nothing, traps and overruns among them",
            None,
            |it| Count(it.failures),
        ),
        (
            "plugin_traps",
            "Calls into a plugin that trapped",
            None,
            |it| Count(it.traps),
        ),
        (
            "plugin_overruns",
            "Calls into a plugin that took too long",
            None,
            |it| Count(it.overruns),
        ),
        (
            "plugin_quarantines",
            "Times that a plugin was put into quarantine",
            None,
            |it| Count(it.quarantines),
        ),
        (
            "plugin_replaced",
            "Times that a plugin's file was replaced while it served",
            None,
            |it| Count(it.replaced),
        ),
        (
            "plugin_replacements_failed",
            "Times that a new file could not take over",
            None,
            |it| Count(it.replacements_failed),
        ),
        (
            "namespace_sockets",
            "Open sockets of a plugin's namespace",
            None,
            |it| of_namespace(it, Level(it.sockets as u64)),
        ),
        (
            "namespace_rooms",
            "Rooms of a plugin's namespace",
            None,
            |it| of_namespace(it, Level(it.uses.rooms)),
        ),
        (
            "namespace_queued",
            "Messages that wait to be written, each once, where quotas.queued-bytes bounds them",
            Some(Unit::Bytes),
            |it| of_namespace(it, Level(it.uses.queued_bytes)),
        ),
        ("messages_received", "Messages of clients", None, |it| {
            of_namespace(it, Count(it.messages.received))
        }),
        (
            "received",
            "Messages of clients in bytes, without the headers of their frames",
            Some(Unit::Bytes),
            |it| of_namespace(it, Count(it.messages.received_bytes)),
        ),
        (
            "messages_sent",
            "Messages to clients, one to many counted for each, those that were dropped among them",
            None,
            |it| of_namespace(it, Count(it.messages.sent)),
        ),
        (
            "sent",
            "Messages to clients in bytes, with the headers of their frames, before they are compressed",
            Some(Unit::Bytes),
            |it| of_namespace(it, Count(it.messages.sent_bytes)),
        ),
        (
            "messages_dropped",
            "Messages that slow consumers did not get",
            None,
            |it| of_namespace(it, Count(it.messages.dropped)),
        ),
        (
            "slow_consumers",
            "Sockets that were closed because they read too slowly",
            None,
            |it| of_namespace(it, Count(it.messages.slow_consumers)),
        ),
        (
            "service_schedules",
            "Whether the schedules of a plugin's service run on this node: 1, or 0",
            None,
            |it| {
                it.schedules_run
                    .map_or(Numbers::None, |run| Level(run.into()))
            },
        ),
        (
            "middleware_decisions",
            "What a middleware made of requests",
            None,
            |it| Counts("verdict", it.decisions.clone().into_iter().collect()),
        ),
        (
            "controller_responses",
            "Responses to requests to a controller, by the class of their status",
            None,
            |it| Counts("class", it.responses.clone().into_iter().collect()),
        ),
    ]
};

/// A number of a plugin that has a namespace.
fn of_namespace(plugin: &PluginInfo, number: Numbers) -> Numbers {
    match plugin.namespace {
        Some(_) => number,
        None => Numbers::None,
    }
}

impl Numbers {
    fn kind(&self) -> Option<MetricType> {
        match self {
            Self::Level(_) => Some(MetricType::Gauge),
            Self::Count(_) | Self::Amount(_) | Self::Counts(..) => Some(MetricType::Counter),
            Self::Times(_) => Some(MetricType::Histogram),
            Self::None => None,
        }
    }
}

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (plugins, left_out) = self.0.split_at(self.0.len().min(MOST));
        for (name, help, unit, numbers) in FAMILIES {
            let kind = plugins.iter().find_map(|plugin| numbers(plugin).kind());
            if let Some(kind) = kind {
                let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
                for plugin in plugins {
                    let (tenant, name) =
                        plugin.name.split_once('/').unwrap_or((ROOT, &plugin.name));
                    let labels = |more: &[(&'static str, &str)]| {
                        let labels = [("tenant", tenant), ("plugin", name)];
                        let labels = labels.iter().chain(more);
                        labels
                            .map(|(key, value)| (*key, (*value).to_owned()))
                            .collect::<Vec<_>>()
                    };
                    match numbers(plugin) {
                        Numbers::None => {}
                        Numbers::Level(level) => {
                            family.encode_family(&labels(&[]))?.encode_gauge(&level)?;
                        }
                        Numbers::Count(count) => family
                            .encode_family(&labels(&[]))?
                            .encode_counter::<NoLabelSet, _, u64>(&count, None)?,
                        Numbers::Amount(amount) => family
                            .encode_family(&labels(&[]))?
                            .encode_counter::<NoLabelSet, _, u64>(&amount, None)?,
                        Numbers::Counts(label, counts) => {
                            for (value, count) in counts {
                                family
                                    .encode_family(&labels(&[(label, &value)]))?
                                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                            }
                        }
                        Numbers::Times(calls) => {
                            for (call, times) in calls {
                                family
                                    .encode_family(&labels(&[("call", &call)]))?
                                    .encode_histogram::<NoLabelSet>(
                                        times.seconds,
                                        times.count,
                                        &times.buckets,
                                        None,
                                    )?;
                            }
                        }
                    }
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "plugins_without_metrics",
            "Plugins that have no numbers here, because there are more than 1000",
            None,
            MetricType::Gauge,
        )?;
        family.encode_gauge(&left_out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn plugin(name: &str) -> PluginInfo {
        let info = serde_json::json!({
            "name": name, "status": "serving", "generation": 2, "serves": [], "namespace": "/chat", "sockets": 3, "cpu-seconds": 0.5,
            "messages": { "received": 4, "received-bytes": 40, "sent": 5, "sent-bytes": 50, "dropped": 0, "slow-consumers": 0 },
            "uses": { "instances": 1, "memory-bytes": 65536, "rooms": 2, "queued-bytes": 0 },
            "calls": { "on-message": { "count": 4, "seconds": 0.25 } },
            "failures": 0, "traps": 0, "overruns": 0, "quarantines": 0, "replaced": 1, "replacements-failed": 0,
            "decisions": { "next": 7 }, "responses": {}, "has-previous": false, "refusal": null,
        });
        serde_json::from_value(info).unwrap()
    }

    fn told(plugins: Vec<PluginInfo>) -> [Box<dyn Collector>; 1] {
        [Box::new(Plugins(plugins))]
    }

    #[test]
    fn each_plugin_has_its_numbers_under_its_tenant_and_its_name() {
        let text = Metrics::new().render(true, told(vec![plugin("chat"), plugin("acme/chat")]));
        for line in [
            "tulpar_plugin_generation{tenant=\"@root\",plugin=\"chat\"} 2",
            "tulpar_messages_received_total{tenant=\"acme\",plugin=\"chat\"} 4",
            "tulpar_received_bytes_total{tenant=\"acme\",plugin=\"chat\"} 40",
            "tulpar_plugin_cpu_seconds_total{tenant=\"acme\",plugin=\"chat\"} 0.5",
            "tulpar_plugin_memory_bytes{tenant=\"acme\",plugin=\"chat\"} 65536",
            "tulpar_middleware_decisions_total{tenant=\"acme\",plugin=\"chat\",verdict=\"next\"} 7",
            "tulpar_plugin_call_seconds_sum{tenant=\"acme\",plugin=\"chat\",call=\"on-message\"} 0.25",
            "tulpar_plugins_without_metrics 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn there_is_a_bound_to_how_many_have() {
        let plugins: Vec<_> = (0..=MOST).map(|n| plugin(&format!("p{n}"))).collect();
        let text = Metrics::new().render(true, told(plugins));
        let series = |name: &str| text.lines().filter(|it| it.starts_with(name)).count();
        assert_eq!(series("tulpar_plugin_serving{"), MOST);
        assert!(text.contains("tulpar_plugins_without_metrics 1\n"));
    }
}
