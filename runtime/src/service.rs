//! A service that runs: its start, its schedules, its stop.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument;

use self::lease::Holding;
pub use self::lease::{Lease, Leases};
use crate::clock::Clock;
use crate::hub;
use crate::plugin::describe::{Schedule, ServiceDescriptor, Timing};
use crate::plugin::{Job, Plugin};
use crate::telemetry::span;

/// How long a schedule sleeps at most before it looks at the clock again, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How late a time of a cron expression may be noticed. Later, the machine slept or its clock was set, and it was missed.
const LATEST: TimeDelta = TimeDelta::seconds(60);

/// How far a service has come. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Its schedules run, once it has started.
    Running,
    /// No run begins any more.
    Ending,
    /// It is to end without on-stop, which is somebody else's.
    HandingOver,
    /// It is to run on-stop.
    Stopping,
}

/// A service, in a task of its own.
pub struct Service {
    stage: watch::Sender<Stage>,
    /// Turns true when on-start has ended, well or not.
    started: watch::Receiver<bool>,
    /// Leaves the lease of a service that has handed over.
    task: JoinHandle<Option<Lease>>,
}

/// Has a service do things, and tells the log how it went.
struct Runner {
    plugin: Arc<Plugin>,
    name: String,
}

impl Service {
    /// Begins with on-start, and goes on with the schedules when that ends well and the service has its lease.
    #[must_use]
    pub fn start(plugin: Arc<Plugin>, descriptor: &ServiceDescriptor, leases: &Leases) -> Self {
        Self::new(plugin, descriptor, leases, None, Some(Job::Start))
    }

    /// Begins with the schedules: on-start has been run, or is run by the first job. The lease is that of the one which has
    /// handed over.
    #[must_use]
    pub fn go_on(
        plugin: Arc<Plugin>,
        descriptor: &ServiceDescriptor,
        leases: &Leases,
        lease: Option<Lease>,
    ) -> Self {
        Self::new(plugin, descriptor, leases, lease, None)
    }

    fn new(
        plugin: Arc<Plugin>,
        descriptor: &ServiceDescriptor,
        leases: &Leases,
        lease: Option<Lease>,
        first: Option<Job<'static>>,
    ) -> Self {
        let name = descriptor.name.clone();
        let runner = Arc::new(Runner { plugin, name });
        let (stage, reached) = watch::channel(Stage::Running);
        let (start, started) = watch::channel(false);
        let life = Life {
            runner,
            schedules: descriptor.schedules.clone(),
            leases: leases.clone(),
            lease,
            stage: reached,
        };
        Self {
            stage,
            started,
            task: tokio::spawn(life.live(first, start)),
        }
    }

    /// Waits until on-start has ended. Cancel-safe.
    pub async fn started(&mut self) {
        // The task is gone only when it has panicked, and then there is nothing to wait for.
        let _ = self.started.wait_for(|started| *started).await;
    }

    /// From now on no run begins.
    pub fn end(&self) {
        self.stage.send_replace(Stage::Ending);
    }

    /// Waits for the runs in hand, and ends without on-stop: another generation takes over. Returns the lease for it; dropped,
    /// that is given back.
    pub async fn hand_over(self) -> Option<Lease> {
        self.stage.send_replace(Stage::HandingOver);
        self.task.await.ok().flatten()
    }

    /// Waits for the runs in hand, and runs on-stop.
    pub async fn stop(self) {
        self.stage.send_replace(Stage::Stopping);
        let _ = self.task.await;
    }
}

/// The life of a service.
struct Life {
    runner: Arc<Runner>,
    schedules: Vec<Schedule>,
    leases: Leases,
    lease: Option<Lease>,
    stage: watch::Receiver<Stage>,
}

impl Life {
    /// Lives it. Returns the lease when it is somebody else's.
    async fn live(
        mut self,
        first: Option<Job<'static>>,
        start: watch::Sender<bool>,
    ) -> Option<Lease> {
        let runner = self.runner;
        let well = match first {
            Some(job) => runner.run("on-start", job).await,
            None => true,
        };
        start.send_replace(true);
        if !well {
            if !self.schedules.is_empty() {
                tracing::warn!("service {}: its schedules do not run", runner.name);
            }
            return None;
        }
        if first.is_some() {
            tracing::info!(plugin = %runner.plugin.id(), "service {} has started", runner.name);
        }
        let ask = || self.leases.ask(&runner.plugin, &runner.name);
        // One that is not needed any more is given back at once.
        let kept = self.lease.take();
        let lease = (!self.schedules.is_empty()).then(move || kept.unwrap_or_else(ask));
        let mut runs = JoinSet::new();
        for (schedule, lease) in self.schedules.into_iter().zip(lease.iter().cycle()) {
            let kept = keep(
                runner.clone(),
                schedule,
                lease.holding(),
                self.stage.clone(),
            );
            runs.spawn(kept);
        }
        // Without anybody to tell the service what to do, it stops.
        let _ = self.stage.wait_for(|stage| *stage > Stage::Running).await;
        while runs.join_next().await.is_some() {}
        if *self.stage.borrow() == Stage::HandingOver {
            return lease;
        }
        if let Some(lease) = lease {
            lease.give_back().await;
        }
        let told = self.stage.wait_for(|stage| *stage >= Stage::HandingOver);
        let told = told.await.map_or(Stage::Stopping, |stage| *stage);
        if told == Stage::Stopping {
            runner.run("on-stop", Job::Stop).await;
        }
        None
    }
}

impl Runner {
    /// Returns whether it went well.
    async fn run(&self, what: &str, job: Job<'_>) -> bool {
        if self.plugin.quarantined().is_some() {
            tracing::debug!(plugin = %self.plugin.id(), "service {}: {what}: in quarantine", self.name);
            return false;
        }
        let span = span!(what, plugin = %self.plugin.id(), service = self.name);
        match hub::in_turns(self.plugin.run_job(job))
            .instrument(span)
            .await
        {
            Ok(()) => true,
            Err(error) => {
                let failures = self.plugin.report(&error);
                if self.plugin.may_log() {
                    tracing::warn!(
                        failures,
                        plugin = %self.plugin.id(),
                        "service {}: {what}: {error}",
                        self.name
                    );
                }
                false
            }
        }
    }
}

/// Keeps a schedule until the service ends: one run at a time, and none for a time that came while another one ran, or while
/// the service's schedules were another node's.
async fn keep(
    runner: Arc<Runner>,
    schedule: Schedule,
    lease: Holding,
    mut stage: watch::Receiver<Stage>,
) {
    let clock = &**runner.plugin.clock();
    let begun = clock.now();
    let mut last = time(clock);
    loop {
        let due = async {
            match &schedule.timing {
                Timing::Every(every) => clock.sleep(left(clock.now() - begun, *every)).await,
                Timing::Cron { cron, .. } => wait_for(clock, cron, &mut last).await,
            }
        };
        tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage > Stage::Running) => return,
            () = due => {}
        }
        if lease.is_ours() {
            let job = Job::Schedule(&schedule.name);
            runner.run(&schedule.name, job).await;
        }
        last = time(clock);
    }
}

/// How long it is to the next whole number of periods.
fn left(passed: Duration, every: Duration) -> Duration {
    let every = every.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(every - passed.as_nanos() % every).unwrap_or(u64::MAX))
}

/// Waits for the next time of a cron expression after `last`, by a clock that may be set meanwhile.
async fn wait_for(clock: &dyn Clock, cron: &Cron, last: &mut DateTime<Utc>) {
    loop {
        match look(cron, last, time(clock)) {
            Look::Due => return,
            Look::Later(left) => clock.sleep(left).await,
            Look::Never => std::future::pending().await,
        }
    }
}

fn time(clock: &dyn Clock) -> DateTime<Utc> {
    clock.time().into()
}

/// What a look at the clock tells of a cron expression.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Due,
    /// Another look is due after that time.
    Later(Duration),
    /// Its last time was in the past. The loader refuses one that never has any.
    Never,
}

/// Looks at the clock: `now`. `last` is when it was looked at before, or a time has come.
fn look(cron: &Cron, last: &mut DateTime<Utc>, now: DateTime<Utc>) -> Look {
    loop {
        let Ok(next) = cron.find_next_occurrence(last, false) else {
            return Look::Never;
        };
        if let Ok(left) = (next - now).to_std()
            && !left.is_zero()
        {
            // When the clock was set back, times come again that lie before the last one.
            *last = now.min(*last);
            return Look::Later(left.min(LONGEST_SLEEP));
        }
        *last = now;
        if now - next <= LATEST {
            return Look::Due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_what_was_missed_is_left_out() {
        for (passed, next) in [(0, 10), (9, 10), (10, 20), (35, 40), (40, 50)] {
            let left = left(Duration::from_secs(passed), Duration::from_secs(10));
            assert_eq!(left, Duration::from_secs(next - passed));
        }
    }

    /// A clock that is set now and then, and a cron expression that is kept by it.
    struct Kept {
        cron: Cron,
        now: DateTime<Utc>,
        last: DateTime<Utc>,
        looks: u32,
    }

    impl Kept {
        fn new(cron: &str, now: &str) -> Self {
            let now = now.parse().unwrap();
            Self {
                cron: cron.parse().unwrap(),
                now,
                last: now,
                looks: 0,
            }
        }

        /// The times that come before so much time has passed, as they are on the clock.
        fn times(&mut self, minutes: i64) -> Vec<String> {
            let mut left = TimeDelta::minutes(minutes);
            let mut times = Vec::new();
            loop {
                self.looks += 1;
                match look(&self.cron, &mut self.last, self.now) {
                    Look::Due => {
                        times.push(self.now.format("%d. %H:%M:%S").to_string());
                        self.last = self.now;
                    }
                    Look::Later(sleep) => {
                        let sleep = TimeDelta::from_std(sleep).unwrap();
                        assert!(sleep <= TimeDelta::seconds(60), "{sleep}");
                        if sleep > left {
                            self.now += left;
                            return times;
                        }
                        self.now += sleep;
                        left -= sleep;
                    }
                    Look::Never => return times,
                }
            }
        }
    }

    #[test]
    fn s2_what_lies_in_a_gap_of_the_clock_is_left_out() {
        let mut kept = Kept::new("*/10 * * * *", "2026-03-01T10:05:30Z");
        assert_eq!(kept.times(10), ["01. 10:10:00"]);
        kept.now += TimeDelta::days(1);
        assert_eq!(kept.times(10), ["02. 10:20:00"]);
        kept.now = "2026-03-05T12:00:20Z".parse().unwrap();
        assert_eq!(kept.times(10), ["05. 12:10:00"]);
        // Unless the gap is short, and the time a moment ago.
        kept.now += TimeDelta::seconds(9 * 60 + 50);
        assert_eq!(kept.times(10), ["05. 12:20:10", "05. 12:30:00"]);
        assert!(kept.looks < 50, "{}", kept.looks);
    }

    #[test]
    fn s2_what_comes_again_when_the_clock_is_set_back_is_done_again() {
        let mut kept = Kept::new("0 12 * * *", "2026-03-01T11:30:00Z");
        assert_eq!(kept.times(60), ["01. 12:00:00"]);
        kept.now -= TimeDelta::hours(1);
        assert_eq!(kept.times(60), ["01. 12:00:00"]);
        kept.now -= TimeDelta::days(400);
        assert_eq!(kept.times(24 * 60), ["26. 12:00:00"]);
        // A few seconds, as clocks are corrected: the time that has just come does not come twice.
        let mut kept = Kept::new("0 12 * * *", "2026-03-01T11:59:59Z");
        assert_eq!(kept.times(1), ["01. 12:00:00"]);
        kept.now -= TimeDelta::seconds(30);
        assert_eq!(kept.times(1), Vec::<String>::new());
    }
}
