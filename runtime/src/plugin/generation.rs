//! A generation: one version of a plugin's code. It is replaced by the next between two calls.

use std::pin::pin;
use std::sync::Arc;

use super::code::Code;
use super::instance::{Instance, finished};
use super::sandbox::Deadline;
use super::service::{self, Job};
use super::tally::Call;
use super::{CallError, Plugin};
use crate::hub;

/// One version of a plugin's code, as it is instantiated.
pub struct Generation {
    /// Counts those that the plugin has had since it was loaded, from 1.
    pub number: u64,
    /// What its file, or that of an earlier one it is, consists of.
    pub(super) hash: blake3::Hash,
    pub(super) code: Arc<Code>,
    /// The sockets of its namespace, once it has said that it has one.
    pub(super) namespace: Option<Arc<hub::Namespace>>,
}

impl Generation {
    /// The same code with the sockets of the namespace that it has described.
    pub(super) fn with(&self, namespace: Option<Arc<hub::Namespace>>) -> Self {
        Self {
            number: self.number,
            hash: self.hash,
            code: self.code.clone(),
            namespace,
        }
    }
}

/// Why a plugin goes on as it was instead of becoming what its file is now.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The new code cannot be instantiated.
    #[error("could not be started: {0}")]
    Instance(CallError),
    /// Its service does not start.
    #[error("its service could not be started: {0}")]
    Start(CallError),
    /// It takes too long.
    #[error("could not take over in time")]
    TooSlow,
    /// It does not want to take over.
    #[error("could not take over the open sockets: {0}")]
    Reload(CallError),
}

impl Plugin {
    /// The code that serves now.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Has another generation serve from the next call on. Calls in hand end in the instance where they began; those that
    /// wait are handled by the new one, in the same order. Of a service, on-stop runs in the old instance and then
    /// on-start in the new one.
    ///
    /// Nothing changes when it fails, but that a service has been stopped: it is started again by its next job.
    ///
    /// Not cancel-safe.
    ///
    /// # Errors
    /// The new generation cannot be started, or does not take over.
    pub async fn replace(&self, new: Arc<Generation>) -> Result<(), ReplaceError> {
        let old = self.generation();
        let jobs = match (&old.code.service, &new.code.service) {
            (None, None) => None,
            _ => Some(self.replace_service(&new).await?),
        };
        // It is made before the place is taken, so that events wait for no more than the hook.
        let next = match new.code.namespace.is_some() || new.code.middleware.is_some() {
            true => Some(Instance::new(self, &new, self.event_deadline()).await),
            false => None,
        };
        let taken_over = async {
            let next = next.transpose().map_err(ReplaceError::Instance)?;
            let mut next = next.map(Box::new);
            let (turn, before) = self.events.enter().await;
            let takes_over = old.namespace.is_some() && new.namespace.is_some();
            if let Some(instance) = next.as_mut().filter(|_| takes_over)
                && let Err(error) = reload(instance).await
            {
                if let Some(before) = before {
                    turn.leave(before);
                }
                return Err(ReplaceError::Reload(error));
            }
            // Whoever enters next finds either the new instance, or none and the new generation.
            self.generation.store(new.clone());
            if let Some(next) = next {
                turn.leave(next);
            }
            Ok(())
        };
        let taken_over = taken_over.await;
        if let Some((turn, Some(mut instance))) = jobs {
            match &taken_over {
                Ok(()) => turn.leave(instance),
                Err(_) => _ = service::call(&mut instance, Job::Stop).await,
            }
        }
        if taken_over.is_ok() {
            self.lift_quarantine();
        }
        taken_over
    }

    /// Drops the instances for events and for jobs, each when no call is in it, and with them what they have in memory. The next
    /// event or job has another one made. Cancel-safe.
    pub async fn forget(&self) {
        let events = async { drop(self.events.enter().await) };
        let jobs = async { drop(self.jobs.enter().await) };
        tokio::join!(events, jobs);
    }

    /// Stops the service of the generation that serves and starts that of `new`. Until the turn that is returned ends, no
    /// job runs.
    async fn replace_service(&self, new: &Generation) -> Result<JobsTurn<'_>, ReplaceError> {
        let (turn, before) = self.jobs.enter().await;
        if let Some(mut before) = before {
            let stopped = service::call(&mut before, Job::Stop).await;
            if let Err(error) = stopped.and_then(|outcome| outcome) {
                let failures = self.report(&error);
                if self.may_log() {
                    tracing::warn!(failures, plugin = %self.id(), "on-stop: {error}");
                }
            }
        }
        if new.code.service.is_none() {
            return Ok((turn, None));
        }
        let deadline = Deadline::of_job(&self.settings().limits);
        let instance = Instance::new(self, new, deadline).await;
        let mut instance = Box::new(instance.map_err(ReplaceError::Start)?);
        let started = service::call(&mut instance, Job::Start).await;
        started
            .and_then(|outcome| outcome)
            .map_err(ReplaceError::Start)?;
        Ok((turn, Some(instance)))
    }
}

type JobsTurn<'a> = (super::place::Turn<'a, Box<Instance>>, Option<Box<Instance>>);

/// Tells an instance that it takes over, if it wants to know.
async fn reload(instance: &mut Instance) -> Result<(), CallError> {
    instance.arm();
    let Instance {
        store,
        clock,
        guest,
    } = instance;
    let Some(hook) = &guest.reload else {
        return Ok(());
    };
    let outcome = clock
        .run(Call::Reload, pin!(hook.call_on_reload(store)))
        .await;
    finished(outcome)?.map_err(CallError::handler)
}
