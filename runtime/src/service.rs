//! A service that runs: its start, its schedules, its stop.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::hub;
use crate::plugin::describe::{Schedule, ServiceDescriptor, Timing};
use crate::plugin::{Job, Plugin};

/// How long a schedule sleeps at most before it looks at the clock again, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A service that has started.
pub struct Service {
    runner: Arc<Runner>,
    /// Its schedules hear of the end by this sender's being gone.
    stop: watch::Sender<()>,
    schedules: Vec<JoinHandle<()>>,
}

/// Has a service do things, and tells the log how it went.
struct Runner {
    plugin: Arc<Plugin>,
    name: String,
}

impl Service {
    /// Runs on-start, and from then on the schedules. None when on-start fails, which the log tells.
    pub async fn start(plugin: Arc<Plugin>, descriptor: &ServiceDescriptor) -> Option<Self> {
        let name = descriptor.name.clone();
        let runner = Arc::new(Runner { plugin, name });
        if !runner.run("on-start", Job::Start).await {
            if !descriptor.schedules.is_empty() {
                tracing::warn!("service {}: its schedules do not run", runner.name);
            }
            return None;
        }
        tracing::info!(plugin = %runner.plugin.id(), "service {} has started", runner.name);
        let (stop, stopped) = watch::channel(());
        let schedules = descriptor
            .schedules
            .iter()
            .map(|schedule| {
                let (runner, schedule) = (runner.clone(), schedule.clone());
                tokio::spawn(run(runner, schedule, stopped.clone()))
            })
            .collect();
        Some(Self {
            runner,
            stop,
            schedules,
        })
    }

    /// Begins no more runs, waits for those in hand, and runs on-stop.
    pub async fn stop(self) {
        drop(self.stop);
        for schedule in self.schedules {
            // It ends by itself. A panic in it has been reported where it happened.
            let _ = schedule.await;
        }
        self.runner.run("on-stop", Job::Stop).await;
    }
}

impl Runner {
    /// Returns whether it went well.
    async fn run(self: &Arc<Self>, what: &str, job: Job<'_>) -> bool {
        match hub::in_turns(self.plugin.run_job(job)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(plugin = %self.plugin.id(), "service {}: {what}: {error}", self.name);
                false
            }
        }
    }
}

/// Runs a schedule until the service stops: one run at a time, and none for a time that came while another one ran.
async fn run(runner: Arc<Runner>, schedule: Schedule, mut stopped: watch::Receiver<()>) {
    let job = async || {
        runner
            .run(&schedule.name, Job::Schedule(&schedule.name))
            .await;
    };
    match &schedule.timing {
        Timing::Every(every) => {
            let mut ticks = interval_at(Instant::now() + *every, *every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    _ = stopped.changed() => return,
                    _ = ticks.tick() => {}
                }
                job().await;
            }
        }
        Timing::Cron { cron, .. } => loop {
            let Ok(next) = cron.find_next_occurrence(&Utc::now(), false) else {
                // It had one when it was loaded: its last was in the past.
                return;
            };
            let wait_until = async {
                while let Ok(left) = (next - Utc::now()).to_std() {
                    sleep(left.min(LONGEST_SLEEP)).await;
                }
            };
            tokio::select! {
                _ = stopped.changed() => return,
                () = wait_until => {}
            }
            job().await;
        },
    }
}
