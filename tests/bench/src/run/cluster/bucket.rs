//! What it costs to keep who is in a room in a key-value bucket of NATS.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::jetstream::{self, kv, stream::StorageType};
use futures_util::{StreamExt, stream};
use hdrhistogram::Histogram;
use tokio::runtime::Builder;

use super::Bench;
use super::table::Sample;
use crate::load::DISTURBED;
use crate::measure::Cpu;

/// Keys that are put again and again: members and the rooms that they are in.
const KEYS: u64 = 10_000;

/// Puts, so many under way at any time.
///
/// # Errors
/// The broker does not start, or does not take one.
pub fn puts(bench: &Bench<'_>, at_once: usize) -> Result<Sample> {
    let broker = bench.program.start(bench.servers.work())?;
    // On this thread alone, so that its CPU time is the client's.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = async_nats::connect(broker.url()).await?;
        let config = kv::Config {
            bucket: "members".to_owned(),
            history: 1,
            storage: StorageType::Memory,
            ..kv::Config::default()
        };
        let bucket = jetstream::new(client).create_key_value(config).await?;
        let mut puts = Puts {
            bucket,
            next: 0,
            at_once,
        };
        puts.run(bench.warm_up).await?;
        let look = || -> Result<_> { Ok((Cpu::of_this_thread()?, Cpu::of(broker.process())?)) };
        let before = look()?;
        let started = Instant::now();
        let latencies = puts.run(bench.duration).await?;
        let seconds = started.elapsed().as_secs_f64();
        let after = look()?;
        let count = latencies.len() as f64;
        let each = |now: Cpu, then: Cpu| now.since(then).running.as_secs_f64() * 1e6 / count;
        let latency = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let waiting = after.0.since(before.0).waiting.as_secs_f64();
        Ok(Sample {
            disturbed: waiting / seconds > DISTURBED,
            figures: vec![
                Some(count / 1000.0 / seconds),
                Some(latency(0.5)),
                Some(latency(0.99)),
                Some(each(after.0, before.0)),
                Some(each(after.1, before.1)),
            ],
            ..Sample::default()
        })
    })
}

struct Puts {
    bucket: kv::Store,
    next: u64,
    at_once: usize,
}

impl Puts {
    /// Puts for so long, and waits for all to be answered. Returns how long each took, in nanoseconds.
    async fn run(&mut self, length: Duration) -> Result<Histogram<u64>> {
        let end = Instant::now() + length;
        let mut latencies = Histogram::new(3)?;
        let (bucket, first) = (&self.bucket, self.next);
        let numbers = (first..).take_while(|_| Instant::now() < end);
        let puts = stream::iter(numbers).map(|number| async move {
            let key = format!("room.member-{}", number % KEYS);
            let began = Instant::now();
            let put = bucket.put(key, number.to_string().into()).await;
            put.context("the bucket does not take it")?;
            anyhow::Ok(began.elapsed())
        });
        let mut puts = puts.buffer_unordered(self.at_once);
        while let Some(took) = puts.next().await {
            latencies.record(took?.as_nanos() as u64)?;
            self.next += 1;
        }
        Ok(latencies)
    }
}
