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
pub mod load;
pub mod metadata;
pub mod network;

mod bindings;
mod cache;
mod code;
pub mod compile;
mod controller;
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
mod watch;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::{Linker, Resource};

use self::bindings::exports::tulpar::plugin::middleware_handler;
use self::bindings::tulpar::plugin::types;
use self::cache::Cache;
use self::code::Codes;
use self::compile::Compiler;
pub use self::controller::ResponseSender;
pub use self::generation::{Generation, ReplaceError};
use self::host::{ContextHandle, HostState, RequestContext};
use self::instance::{Entry, Guest, Instance};
use self::log::PluginLog;
use self::network::Network;
use self::place::Place;
use self::quarantine::{Quarantine, Rules};
use self::sandbox::Deadline;
pub use self::sandbox::Overrun;
pub use self::service::Job;
pub use self::surroundings::Surroundings;
use self::tally::{Call, Tally};
use crate::backplane::Backplane;
use crate::clock::Clock;
use crate::config::{Config, Limits, PluginSettings};
use crate::hub::Socket;
use crate::ids::PluginId;
use crate::message::{CloseEvent, Message};
use crate::quota::{Account, Spent, Tenants};
use crate::store::{self, Stores};
use crate::ulak::{Sender, Ulak};

/// How long a call is held back at most for what was called before it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Requests that one middleware may have before it at once, those of clients that have left among them. Each may have a head of
/// `limits.request-head-bytes`.
const DECISIONS: usize = 4096;
/// The largest body of a middleware's response, in bytes.
const MAX_RESPONSE_BODY: usize = 1 << 20;

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
    config: Config,
}

impl Shared {
    /// Sets up the engine, its imports and the cache.
    ///
    /// # Errors
    /// The engine cannot be set up, see [`engine::new`].
    pub fn new(
        config: &Config,
        surroundings: Surroundings,
        ulak: Arc<Ulak>,
    ) -> anyhow::Result<Arc<Self>> {
        let Surroundings {
            compiler,
            clock,
            backplane,
            network,
        } = surroundings;
        // As many as Tokio starts.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tenants = Arc::new(Tenants::new(cores));
        let engine = engine::new(&config.limits, tenants.clone())?;
        let limits = store::Limits {
            tenant_bytes: config.limits.store_bytes,
            value_bytes: config.limits.store_value_bytes,
        };
        Ok(Arc::new(Self {
            linker: engine::linker(&engine)?,
            cache: Cache::new(&config.cache, config.limits.cache_bytes, &engine),
            compiler,
            codes: Codes::default(),
            quarantine: Rules::from(config),
            tenants,
            clock,
            network,
            backplane,
            ulak,
            stores: Stores::new(&config.store, limits),
            requests: Arc::new(Semaphore::new((config.limits.instances / 2).max(1) as usize)),
            config: config.clone(),
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
    settings: Arc<PluginSettings>,
    /// What its use of what all share is counted on.
    account: Account,
    log: Arc<PluginLog>,
    /// The namespaces that it may address.
    sender: Sender,
    /// The instance for the events of a namespace and the requests of a middleware.
    events: Place<Box<Instance>>,
    /// The instance for the jobs of a service.
    jobs: Place<Box<Instance>>,
    /// How many requests its controller can take on at the moment.
    requests: Arc<Semaphore>,
    /// How many more requests may wait for what it decides.
    decisions: Arc<Semaphore>,
    /// How many more requests to other hosts it may have under way.
    outgoing: Arc<Semaphore>,
    failures: AtomicU64,
    tally: Arc<Tally>,
    quarantine: Quarantine,
}

/// What happens to a socket.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It has connected.
    Open,
    /// Its peer has sent a message.
    Message(Message<'a>),
    /// All has been written of what waited for a slow peer.
    Drained,
    /// It has closed.
    Close(&'a CloseEvent),
}

/// What a middleware decides about a request.
#[derive(Debug)]
pub enum Verdict {
    /// On to the next one.
    Next,
    /// Send this, and nothing behind it runs.
    Respond {
        /// 200 to 599.
        status: StatusCode,
        /// None of the host's own.
        headers: HeaderMap,
        /// The body.
        body: Vec<u8>,
    },
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
        let settings = shared.config.terms(tenant, &id.key());
        let quotas = shared.config.tenant_quotas(tenant);
        let account = shared.tenants.account(tenant, &quotas, &settings.quotas);
        Self {
            generation: ArcSwap::from_pointee(generation),
            log: Arc::new(PluginLog::new(id.clone(), account.clone())),
            account,
            sender: shared.ulak.sender(id.tenant.as_deref()),
            shared: shared.clone(),
            events: Place::new(),
            jobs: Place::new(),
            requests: Arc::new(Semaphore::new(settings.limits.requests)),
            decisions: Arc::new(Semaphore::new(DECISIONS)),
            outgoing: Arc::new(Semaphore::new(settings.limits.outgoing_requests)),
            settings: Arc::new(settings),
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
        self.events.is_taken()
            || self.jobs.is_taken()
            || self.requests.available_permits() < self.limits().requests
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
    pub fn settings(&self) -> &Arc<PluginSettings> {
        &self.settings
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Bytes that it may hand over in one call of a host function: a whole message and some small change.
    fn hostcall_fuel(&self) -> usize {
        self.limits().max_message_bytes + (1 << 20)
    }

    /// The right to take on one request, for as long as it is held; none when its controller, or all of them together,
    /// have as many as they may.
    #[must_use]
    pub fn take_on_request(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        // Who has called the host too often would only wait, and others for what it holds meanwhile.
        if self.account.exhausted(Spent::HostCalls).is_some() {
            return None;
        }
        let own = self.requests.clone().try_acquire_owned().ok()?;
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
        Deadline::of_event(self.limits())
    }

    /// Whether its namespace wants to know of [`Event::Drained`].
    #[must_use]
    pub fn hears_of_drains(&self) -> bool {
        self.generation.load().code.drain.is_some()
    }

    /// Tells the namespace's handler what has happened to a socket.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The handler returned an error, trapped or took too long.
    pub async fn handle(&self, socket: &Arc<Socket>, event: Event<'_>) -> Result<(), CallError> {
        let mut entry = Entry::new(self, &self.events, self.event_deadline()).await?;
        let Instance {
            store,
            clock,
            guest:
                Guest {
                    namespace: Some(guest),
                    drain,
                    ..
                },
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("namespace-handler"));
        };
        let lent = store.data_mut().handles.lend(socket.clone());
        let place = lent.rep();
        let outcome = match event {
            Event::Open => {
                clock
                    .run(Call::Open, pin!(guest.call_on_open(&mut *store, lent)))
                    .await
            }
            Event::Message(message) => {
                let message = match message {
                    Message::Text(text) => types::MessageParam::Text(text),
                    Message::Binary(bytes) => types::MessageParam::Binary(bytes),
                };
                clock
                    .run(
                        Call::Message,
                        pin!(guest.call_on_message(&mut *store, lent, message)),
                    )
                    .await
            }
            Event::Drained => match drain {
                Some(hook) => {
                    clock
                        .run(Call::Drain, pin!(hook.call_on_drain(&mut *store, lent)))
                        .await
                }
                // Another generation has come meanwhile, which does not want to know.
                None => Ok(Ok(Ok(()))),
            },
            Event::Close(event) => {
                let event = types::CloseEvent {
                    code: event.code,
                    reason: &event.reason,
                };
                clock
                    .run(
                        Call::Close,
                        pin!(guest.call_on_close(&mut *store, lent, event)),
                    )
                    .await
            }
        };
        store.data_mut().handles.take_back(place);
        entry.leave(outcome)?.map_err(CallError::handler)
    }

    /// Has the middleware decide about a request. Returns the request with what it attached.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The middleware returned an error or an unusable response, trapped or took too long; the request is lost.
    pub async fn decide(
        &self,
        request: Box<RequestContext>,
    ) -> Result<(Verdict, Box<RequestContext>), CallError> {
        let mut entry = Entry::new(self, &self.events, self.event_deadline()).await?;
        let Instance {
            store,
            clock,
            guest: Guest {
                middleware: Some(guest),
                ..
            },
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("middleware-handler"));
        };
        store.data_mut().request = Some(request);
        let context = Resource::<ContextHandle>::new_borrow(0);
        let outcome = clock
            .run(Call::Decide, pin!(guest.call_handle(&mut *store, context)))
            .await;
        let request = store.data_mut().request.take();
        let verdict = entry.leave(outcome)?.map_err(CallError::handler)?;
        let request = request.ok_or(CallError::NotExported("the request's context"))?;
        Ok((check(verdict)?, request))
    }
}

/// Makes a response of what a middleware says is one.
fn check(verdict: middleware_handler::Verdict) -> Result<Verdict, CallError> {
    let response = match verdict {
        middleware_handler::Verdict::Next => return Ok(Verdict::Next),
        middleware_handler::Verdict::Respond(response) => response,
    };
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| {
            CallError::Answer(format!("{} is no status from 200 to 599", response.status))
        })?;
    if response.body.len() > MAX_RESPONSE_BODY {
        return Err(CallError::Answer(format!(
            "the body is over {MAX_RESPONSE_BODY} bytes"
        )));
    }
    let mut headers = HeaderMap::new();
    for types::Header { name, value } in response.headers {
        let (name, value) = host::response_header(&name, &value).map_err(CallError::Answer)?;
        headers
            .try_append(name, value)
            .map_err(|_| CallError::Answer("there are too many headers".into()))?;
    }
    Ok(Verdict::Respond {
        status,
        headers,
        body: response.body,
    })
}
