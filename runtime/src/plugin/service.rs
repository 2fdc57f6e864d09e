//! Calls of a service.
//!
//! They have an instance of their own: what a job waits for must not hold up the events of a namespace that is in the
//! same component.

use std::pin::pin;

use super::instance::{Instance, finished};
use super::sandbox::Deadline;
use super::tally::Call;
use super::{CallError, Plugin};

/// What a service is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job<'a> {
    /// on-start.
    Start,
    /// on-schedule, of the schedule with that name.
    Schedule(&'a str),
    /// on-stop.
    Stop,
}

impl Plugin {
    /// Has the service do something. In a new instance on-start runs first, and when it fails nothing else does.
    /// Stopping a service that has no instance does nothing.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The service returned an error, trapped or took too long.
    pub async fn run_job(&self, job: Job<'_>) -> Result<(), CallError> {
        self.hold_back().await;
        let (turn, instance) = self.jobs.enter().await;
        let mut instance = match (instance, job) {
            (Some(instance), _) => instance,
            (None, Job::Stop) => return Ok(()),
            (None, Job::Start | Job::Schedule(_)) => {
                let deadline = Deadline::of_job(&self.settings().limits);
                let mut instance =
                    Box::new(Instance::new(self, &self.generation(), deadline).await?);
                call(&mut instance, Job::Start).await??;
                if job == Job::Start {
                    turn.leave(instance);
                    return Ok(());
                }
                instance
            }
        };
        let outcome = call(&mut instance, job).await?;
        turn.leave(instance);
        outcome
    }
}

/// One call. The outer error is of one that broke the instance.
pub(super) async fn call(
    instance: &mut Instance,
    job: Job<'_>,
) -> Result<Result<(), CallError>, CallError> {
    instance.arm();
    let Instance {
        store,
        clock,
        guest,
    } = instance;
    let Some(service) = &guest.service else {
        return Err(CallError::NotExported("service-handler"));
    };
    let outcome = match job {
        Job::Start => finished(
            clock
                .run(Call::Start, pin!(service.call_on_start(store)))
                .await,
        )?,
        Job::Schedule(name) => finished(
            clock
                .run(Call::Schedule, pin!(service.call_on_schedule(store, name)))
                .await,
        )?,
        Job::Stop => {
            finished(
                clock
                    .run(Call::Stop, pin!(service.call_on_stop(store)))
                    .await,
            )?;
            Ok(())
        }
    };
    Ok(outcome.map_err(CallError::handler))
}
