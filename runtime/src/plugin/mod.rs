//! Plugins: found in a folder, compiled, described, instantiated in a sandbox, called.
//!
//! A [`Plugin`] is entered by whoever has an event for it, one at a time and in the order of their coming. There is no
//! task of its own and no queue: a connection that has read a message calls the handler itself, and reads the next
//! one when it has returned. That keeps the order of a socket, holds back a peer that is faster than its handler, and
//! costs no wake.

pub mod catalog;
pub mod describe;
pub mod engine;
pub mod host;
pub mod inspect;
pub mod load;
pub mod metadata;
pub mod network;

mod bindings;
mod cache;
mod code;
pub mod compile;
mod controller;
mod event;
mod generation;
mod instance;
pub mod log;
mod place;
mod quarantine;
mod sandbox;
mod service;
mod state;
mod surroundings;
pub mod tally;
mod terms;
mod verdict;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

use self::cache::Cache;
use self::code::Codes;
use self::compile::Compiler;
pub use self::controller::ResponseSender;
pub use self::event::Event;
pub use self::generation::{Generation, ReplaceError};
use self::host::HostState;
use self::instance::Instance;
use self::log::PluginLog;
use self::network::Network;
use self::place::Place;
use self::quarantine::{Quarantine, Rules};
use self::sandbox::Deadline;
pub use self::sandbox::Overrun;
pub use self::service::Job;
pub use self::surroundings::Surroundings;
use self::tally::Tally;
use self::terms::Terms;
pub use self::verdict::Verdict;
use crate::backplane::Backplane;
use crate::clock::Clock;
use crate::config::{Live, PluginSettings, StoreKind};
use crate::ids::PluginId;
use crate::quota::{Account, Spent, Tenants};
use crate::store::{self, Stores};
use crate::ulak::{Sender, Ulak};

/// How long a call is held back at most for what was called before it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Requests that one middleware may have before it at once, those of clients that have left among them. Each may have a head of
/// `limits.request-head-bytes`.
const DECISIONS: usize = 4096;

/// What all plugins of the process share.
pub struct Shared {
    engine: Engine,
    linker: Linker<HostState>,
    cache: Cache,
    compiler: Compiler,
    codes: Codes,
    quarantine: Rules,
    tenants: Arc<Tenants>,
    clock: Arc<dyn Clock>,
    network: Arc<dyn Network>,
    backplane: Arc<dyn Backplane>,
    ulak: Arc<Ulak>,
    stores: Stores,
    /// How many more requests all controllers together can take on: half of the instances, so that clients of controllers
    /// leave the rest to namespaces, middlewares and services.
    requests: Arc<Semaphore>,
    config: Live,
}

impl Shared {
    /// Sets up the engine, its imports and the cache.
    ///
    /// # Errors
    /// The engine cannot be set up, see [`engine::new`].
    pub fn new(
        config: impl Into<Live>,
        surroundings: Surroundings,
        ulak: Arc<Ulak>,
    ) -> anyhow::Result<Arc<Self>> {
        let live = config.into();
        let config = live.load();
        let Surroundings {
            compiler,
            clock,
            backplane,
            nats,
            network,
        } = surroundings;
        // As many as Tokio starts.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tenants = Arc::new(Tenants::new(cores, config.limits.receiving_bytes));
        let engine = engine::new(&config.limits, tenants.clone())?;
        let limits = store::Limits {
            tenant_bytes: config.limits.store_bytes,
            value_bytes: config.limits.store_value_bytes,
        };
        let stores = match (config.backplane.store, &nats) {
            (StoreKind::Jetstream, Some(nats)) => {
                Stores::in_jetstream(nats, &config.backplane, limits)
            }
            _ => Stores::in_folder(&config.store, limits),
        };
        Ok(Arc::new(Self {
            linker: engine::linker(&engine)?,
            cache: Cache::new(&config.cache, config.limits.cache_bytes, &engine),
            compiler,
            codes: Codes::default(),
            quarantine: Rules::from(&**config),
            tenants,
            clock,
            network,
            backplane,
            ulak,
            stores,
            requests: Arc::new(Semaphore::new((config.limits.instances / 2).max(1) as usize)),
            config: live.clone(),
            engine,
        }))
    }

    /// Whether the code of a component is there, so that it does not have to be compiled.
    fn has_code(&self, hash: &blake3::Hash) -> bool {
        self.codes.get(hash).is_some() || self.cache.has(hash)
    }
}

/// A plugin: it is the same while its code is replaced by another generation.
pub struct Plugin {
    id: Arc<PluginId>,
    shared: Arc<Shared>,
    /// What serves now.
    generation: ArcSwap<Generation>,
    /// What the configuration gives to it.
    terms: ArcSwap<Terms>,
    /// What its use of what all share is counted on.
    account: Account,
    log: Arc<PluginLog>,
    store: Arc<store::Access>,
    /// The namespaces that it may address.
    sender: Sender,
    /// The instance for the events of a namespace and the requests of a middleware.
    events: Place<Box<Instance>>,
    /// The instance for the jobs of a service.
    jobs: Place<Box<Instance>>,
    /// How many more requests may wait for what it decides.
    decisions: Arc<Semaphore>,
    failures: AtomicU64,
    tally: Arc<Tally>,
    quarantine: Quarantine,
}

/// Why a call into a plugin did not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The handler returned an error; its instance lives on.
    #[error("the handler returned an error: {0}")]
    Handler(String),
    /// The handler's answer is not one the host can use; its instance lives on.
    #[error("the handler's answer cannot be used: {0}")]
    Answer(String),
    /// The guest trapped. Its instance is gone.
    #[error("the guest trapped: {}", trap(.0))]
    Trap(Arc<wasmtime::Error>),
    /// It has failed too often, and is left alone.
    #[error("the plugin is in quarantine")]
    Quarantined,
    /// There is no room for what the call needs: for its tenant, for itself, or in the whole server.
    #[error("there are as many {0} as there may be")]
    Quota(&'static str),
    /// The guest took too long. Its instance is gone.
    #[error("{0}")]
    Overrun(Overrun),
    /// The component does not export what was called, which is a defect of the host.
    #[error("the component does not export {0}")]
    NotExported(&'static str),
}

impl CallError {
    /// The handler returned an error with that text.
    fn handler(text: String) -> Self {
        Self::Handler(host::one_line(&text))
    }
}

/// The cause of a trap in one line. The guest's own panic message has gone to the log before.
fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}

impl Plugin {
    /// A plugin that has not said yet what it is.
    fn new(id: PluginId, shared: &Arc<Shared>, generation: Generation) -> Self {
        let tenant = id.tenant.as_deref();
        let config = shared.config.load();
        let settings = config.terms(tenant, &id.key());
        let quotas = config.tenant_quotas(tenant);
        let account = shared.tenants.account(tenant, &quotas, &settings.quotas);
        Self {
            generation: ArcSwap::from_pointee(generation),
            log: Arc::new(PluginLog::new(id.clone(), account.clone())),
            account,
            sender: shared.ulak.sender(tenant),
            store: Arc::new(store::Access::new(&shared.stores, tenant)),
            shared: shared.clone(),
            events: Place::new(),
            jobs: Place::new(),
            decisions: Arc::new(Semaphore::new(DECISIONS)),
            terms: ArcSwap::from_pointee(Terms::new(settings)),
            failures: AtomicU64::new(0),
            quarantine: Quarantine::new(shared.quarantine, shared.clock.clone()),
            tally: Arc::default(),
            id: Arc::new(id),
        }
    }

    /// Which plugin it is.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.id
    }

    /// Takes note that one of its handlers did not do what it should. Returns how often that has happened since it was
    /// loaded.
    pub fn count_failure(&self) -> u64 {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes note of a call that failed, as [`Plugin::count_failure`] does. When too many have cost the plugin its
    /// instance, it is put into quarantine.
    pub fn report(&self, error: &CallError) -> u64 {
        self.tally.count_failure(error);
        if matches!(error, CallError::Trap(_) | CallError::Overrun(_))
            && let Some(length) = self.quarantine.fail(self.clock().now())
        {
            tracing::warn!(
                plugin = %self.id,
                "in quarantine for {} ms: it failed too often (limits.quarantine-failures)",
                length.as_millis()
            );
        }
        self.count_failure()
    }

    /// How many failures there have been since it was loaded.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What its calls have come to and cost.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How often it has been in quarantine since it was loaded.
    #[must_use]
    pub fn quarantines(&self) -> u64 {
        self.quarantine.count()
    }

    /// For how long it still is in quarantine; none when it is not.
    #[must_use]
    pub fn quarantined(&self) -> Option<Duration> {
        self.quarantine
            .is_suspect()
            .then(|| self.quarantine.left(self.clock().now()))?
    }

    /// Ends its quarantine, when it is in one, and forgets what led to it.
    pub fn lift_quarantine(&self) {
        self.quarantine.lift();
    }

    /// What time it is for it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Whether a call into it is under way. Those that wait for the end of its quarantine are not.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        let terms = self.terms.load();
        self.events.is_taken()
            || self.jobs.is_taken()
            || terms.requests.available_permits() < terms.settings.limits.requests
    }

    /// What its use of what all share is counted on.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether one more line may be written about it, see [`PluginLog::may_write`].
    #[must_use]
    pub fn may_log(&self) -> bool {
        self.log.may_write()
    }

    /// Waits until it may call the host again, when it has done so too often, but not for ever.
    async fn hold_back(&self) {
        if let Some(wait) = self.account.exhausted(Spent::HostCalls) {
            // Boxed, as it is rare.
            Box::pin(tokio::time::sleep(wait.min(LONGEST_WAIT))).await;
        }
    }

    /// What the configuration gives to it.
    #[must_use]
    pub fn settings(&self) -> Arc<PluginSettings> {
        self.terms.load().settings.clone()
    }

    /// Bytes that it may hand over in one call of a host function: a whole message, or as many values as its store takes at
    /// once, and some small change.
    fn hostcall_fuel(&self) -> usize {
        let limits = &self.terms.load().settings.limits;
        let values = limits.store_value_bytes.max(store::MAX_BATCH_BYTES);
        limits.max_message_bytes.max(values) + (1 << 20)
    }

    /// The right to take on one request, for as long as it is held; none when its controller, or all of them together,
    /// have as many as they may.
    #[must_use]
    pub fn take_on_request(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        // Who has called the host too often would only wait, and others for what it holds meanwhile.
        if self.account.exhausted(Spent::HostCalls).is_some() {
            return None;
        }
        let own = self.terms.load().requests.clone();
        let own = own.try_acquire_owned().ok()?;
        let shared = self.shared.requests.clone().try_acquire_owned().ok()?;
        Some([own, shared])
    }

    /// The right to have a middleware decide about one more request, for as long as it is held; none when too many wait
    /// already.
    #[must_use]
    pub fn take_on_decision(&self) -> Option<OwnedSemaphorePermit> {
        self.decisions.clone().try_acquire_owned().ok()
    }

    fn event_deadline(&self) -> Deadline {
        Deadline::of_event(&self.terms.load().settings.limits)
    }
}
