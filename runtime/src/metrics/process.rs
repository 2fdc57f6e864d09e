//! What the process takes of its machine, under the names that all Prometheus clients have for it.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Asks the operating system. What it does not tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970.
    started: f64,
}

impl Process {
    /// One that has just started.
    pub(super) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: started.unwrap_or_default().as_secs_f64(),
        }
    }
}

/// Bytes of memory: all that is mapped, and what of it is there.
fn memory() -> Option<[u64; 2]> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').map_while(|it| it.parse::<u64>().ok());
    Some([pages.next()?, pages.next()?].map(|pages| pages * page_size() as u64))
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        encoder
            .encode_descriptor(
                "process_cpu",
                "Time that the process had of the cores",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&cpu, None)?;
        let mut gauge = |name, help, unit: Option<Unit>, value: Option<f64>| match value {
            Some(value) => encoder
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?
                .encode_gauge(&value),
            None => Ok(()),
        };
        let [mapped, resident] = memory().map_or([None, None], |memory| memory.map(Some));
        gauge(
            "process_resident_memory",
            "Memory of the process that is there",
            Some(Unit::Bytes),
            resident.map(|it| it as f64),
        )?;
        gauge(
            "process_virtual_memory",
            "Address space of the process, of which instances reserve much",
            Some(Unit::Bytes),
            mapped.map(|it| it as f64),
        )?;
        let descriptors = fs::read_dir("/proc/self/fd").ok();
        gauge(
            "process_open_fds",
            "File descriptors that are open",
            None,
            descriptors.map(|it| it.count() as f64),
        )?;
        gauge(
            "process_max_fds",
            "File descriptors that may be open",
            None,
            getrlimit(Resource::Nofile).current.map(|it| it as f64),
        )?;
        gauge(
            "process_start_time",
            "When the process started, in seconds since 1970",
            Some(Unit::Seconds),
            Some(self.started),
        )
    }
}
