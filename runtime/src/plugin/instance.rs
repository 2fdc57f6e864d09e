//! A running copy of a plugin, and how it is entered.

use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;

use wasmtime_wasi_http::p2::bindings::exports::wasi::http::incoming_handler;

use super::bindings::exports::tulpar::plugin::{
    controller_handler, drain_hook, middleware_handler, namespace_handler, reload_hook,
    service_handler,
};
use super::host::HostState;
use super::place::{Place, Turn};
use super::sandbox::{Clock, Deadline, Overrun};
use super::tally::Call;
use super::{CallError, Generation, Plugin};
use crate::quota::Held;

/// At which epoch a call first hands the thread back. Not at the next, which may be but a moment away: a call that is
/// short never does, wherever between two ticks it begins.
const FIRST_YIELD: u64 = 2;

/// A store with the instance in it and the functions to call. It serves one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<HostState>,
    pub(super) clock: Clock,
    pub(super) guest: Guest,
}

/// The handlers of an instance; those that its component does not export are none.
pub(super) struct Guest {
    pub(super) namespace: Option<namespace_handler::Guest>,
    pub(super) reload: Option<reload_hook::Guest>,
    pub(super) drain: Option<drain_hook::Guest>,
    pub(super) middleware: Option<middleware_handler::Guest>,
    pub(super) service: Option<service_handler::Guest>,
    pub(super) controller: Option<controller_handler::Guest>,
    pub(super) incoming: Option<incoming_handler::Guest>,
}

impl Instance {
    /// A new instance of one generation of the plugin, its memory as the component begins with. Each of its calls may take as long as `deadline` says.
    pub(super) async fn new(
        plugin: &Plugin,
        generation: &Generation,
        deadline: Deadline,
    ) -> Result<Self, CallError> {
        let hold = plugin.account.hold(Held::Instances, 1);
        let hold = hold.ok_or(CallError::Quota("instances (quotas.instances)"))?;
        let state = HostState::new(plugin, generation, deadline, hold);
        let clock = state.clock.clone();
        let mut store = Store::new(&plugin.shared.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(plugin.hostcall_fuel());
        store.epoch_deadline_callback(|store| Ok(store.data().clock.tick()?));
        store.call_hook(|mut store, hook| store.data_mut().host_calls.pass(hook));
        store.set_epoch_deadline(FIRST_YIELD);
        let made = async {
            let code = &generation.code;
            let made = code.component.instantiate_async(&mut store).await?;
            let store = &mut store;
            let namespace = code
                .namespace
                .as_ref()
                .map(|it| it.load(&mut *store, &made));
            let reload = code.reload.as_ref().map(|it| it.load(&mut *store, &made));
            let drain = code.drain.as_ref().map(|it| it.load(&mut *store, &made));
            let middleware = code
                .middleware
                .as_ref()
                .map(|it| it.load(&mut *store, &made));
            let service = code.service.as_ref().map(|it| it.load(&mut *store, &made));
            let controller = code
                .controller
                .as_ref()
                .map(|it| it.load(&mut *store, &made));
            let incoming = code.incoming.as_ref().map(|it| it.load(&mut *store, &made));
            wasmtime::error::Ok(Guest {
                namespace: namespace.transpose()?,
                reload: reload.transpose()?,
                drain: drain.transpose()?,
                middleware: middleware.transpose()?,
                service: service.transpose()?,
                controller: controller.transpose()?,
                incoming: incoming.transpose()?,
            })
        };
        let guest = finished(clock.run(Call::Instantiate, pin!(made)).await)?;
        Ok(Self {
            store,
            clock,
            guest,
        })
    }

    /// Makes it ready for a call.
    pub(super) fn arm(&mut self) {
        self.store.set_epoch_deadline(FIRST_YIELD);
        self.store.data_mut().host_calls.begin();
    }
}

/// How many quarantines of its plugin a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quarantines {
    /// As many as there are.
    All,
    /// The one that there is, and not for the next.
    One,
    /// None.
    None,
}

/// A call into a plugin's instance.
///
/// The instance is taken out of its place while it runs and put back only by [`Entry::leave`]. So when it traps,
/// overruns its deadline or the call is dropped half-way, it is gone with the call, and the next one finds the place
/// empty.
pub(super) struct Entry<'a> {
    pub(super) instance: Box<Instance>,
    turn: Turn<'a, Box<Instance>>,
}

impl<'a> Entry<'a> {
    /// Waits for the instance in its `place` to be free, makes one when there is none, and arms its deadline. Before, it waits
    /// for the end of the plugin's quarantine, and when another has begun meanwhile, again: so many times at most.
    pub(super) async fn new(
        plugin: &Plugin,
        place: &'a Place<Box<Instance>>,
        deadline: Deadline,
        quarantines: Quarantines,
    ) -> Result<Self, CallError> {
        plugin.hold_back().await;
        let mut waited = false;
        let (turn, instance) = loop {
            if plugin.quarantined().is_some() {
                match quarantines {
                    Quarantines::All => {}
                    Quarantines::One if !waited => {}
                    _ => return Err(CallError::Quarantined),
                }
                waited = true;
                // Boxed, as below.
                Box::pin(plugin.quarantine.over()).await;
            }
            let (turn, instance) = place.enter().await;
            // It may have got there while this one waited.
            match (plugin.quarantined(), instance) {
                (None, instance) => break (turn, instance),
                (Some(_), Some(instance)) => turn.leave(instance),
                (Some(_), None) => {}
            }
        };
        let mut instance = match instance {
            Some(instance) => instance,
            // Boxed: it is rare, and large enough to be felt in the task of each idle connection.
            None => {
                let generation = plugin.generation();
                Box::new(Box::pin(Instance::new(plugin, &generation, deadline)).await?)
            }
        };
        instance.arm();
        Ok(Self { instance, turn })
    }

    /// Ends a call: the instance serves the next one, unless this one broke it.
    pub(super) fn leave<T>(
        self,
        outcome: Result<wasmtime::Result<T>, Overrun>,
    ) -> Result<T, CallError> {
        let value = finished(outcome)?;
        self.turn.leave(self.instance);
        Ok(value)
    }
}

/// What came of a call, the two ways of not coming back made one.
pub(super) fn finished<T>(outcome: Result<wasmtime::Result<T>, Overrun>) -> Result<T, CallError> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => match error.downcast::<Overrun>() {
            Ok(overrun) => Err(CallError::Overrun(overrun)),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(CallError::Quota("instances (limits.instances)"))
            }
            Err(error) => Err(CallError::Trap(Arc::new(error))),
        },
        Err(overrun) => Err(CallError::Overrun(overrun)),
    }
}
