//! A running copy of a plugin, and how it is entered.

use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;

use super::bindings::exports::tulpar::plugin::{middleware_handler, namespace_handler};
use super::host::HostState;
use super::place::Turn;
use super::sandbox::{Clock, Overrun};
use super::{CallError, Plugin};

/// At which epoch a call first hands the thread back. Not at the next, which may be but a moment away: a call that is
/// short never does, wherever between two ticks it begins.
const FIRST_YIELD: u64 = 2;

/// A store with the instance in it and the functions to call. It serves one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<HostState>,
    pub(super) clock: Clock,
    pub(super) namespace: Option<namespace_handler::Guest>,
    pub(super) middleware: Option<middleware_handler::Guest>,
}

impl Instance {
    /// A new instance, its memory as the component begins with.
    pub(super) async fn new(plugin: &Plugin) -> Result<Self, CallError> {
        let state = HostState::new(
            plugin.id.clone(),
            plugin.shared.clone(),
            plugin.namespace.get().cloned(),
        );
        let clock = state.clock.clone();
        let mut store = Store::new(&plugin.shared.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(plugin.shared.hostcall_fuel());
        store.epoch_deadline_callback(|store| Ok(store.data().clock.tick()?));
        store.set_epoch_deadline(FIRST_YIELD);
        let made = async {
            let instance = plugin.code.component.instantiate_async(&mut store).await?;
            let code = &plugin.code;
            let namespace = code
                .namespace
                .as_ref()
                .map(|indices| indices.load(&mut store, &instance));
            let middleware = code
                .middleware
                .as_ref()
                .map(|indices| indices.load(&mut store, &instance));
            wasmtime::error::Ok((namespace.transpose()?, middleware.transpose()?))
        };
        let (namespace, middleware) = finished(clock.run(pin!(made)).await)?;
        Ok(Self {
            store,
            clock,
            namespace,
            middleware,
        })
    }

    /// Makes it ready for a call.
    pub(super) fn arm(&mut self) {
        self.store.set_epoch_deadline(FIRST_YIELD);
    }
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
    /// Waits for the plugin's instance to be free, makes one when there is none, and arms its deadline.
    pub(super) async fn new(plugin: &'a Plugin) -> Result<Self, CallError> {
        let (turn, instance) = plugin.place.enter().await;
        let mut instance = match instance {
            Some(instance) => instance,
            // Boxed: it is rare, and large enough to be felt in the task of each idle connection.
            None => Box::new(Box::pin(Instance::new(plugin)).await?),
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
            Err(error) => Err(CallError::Trap(Arc::new(error))),
        },
        Err(overrun) => Err(CallError::Overrun(overrun)),
    }
}
