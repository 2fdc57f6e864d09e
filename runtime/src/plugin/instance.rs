//! A running copy of a plugin, and how it is entered.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::MutexGuard;
use wasmtime::Store;

use super::bindings::exports::tulpar::plugin::{middleware_handler, namespace_handler};
use super::host::HostState;
use super::sandbox::{Clock, Overrun};
use super::{CallError, Plugin};

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
        store.set_epoch_deadline(1);
        let made = async {
            let instance = plugin.component.instantiate_async(&mut store).await?;
            let exports = &plugin.exports;
            let namespace = exports
                .namespace
                .as_ref()
                .map(|indices| indices.load(&mut store, &instance));
            let middleware = exports
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
}

/// The one place of a plugin's instance, held for the time of a call.
///
/// The instance is taken out while it runs and put back only by [`Entry::leave`]. So when it traps, overruns its
/// deadline or the call is dropped half-way, it is gone with the call, and the next one finds the place empty.
pub(super) struct Entry<'a> {
    place: MutexGuard<'a, Option<Instance>>,
    pub(super) instance: Instance,
}

impl<'a> Entry<'a> {
    /// Waits for the plugin's instance to be free, makes one when there is none, and arms its deadline.
    pub(super) async fn new(plugin: &'a Plugin) -> Result<Self, CallError> {
        let mut place = plugin.instance.lock().await;
        let mut instance = match place.take() {
            Some(instance) => instance,
            // Boxed: it is rare, and large enough to be felt in the task of each idle connection.
            None => Box::pin(Instance::new(plugin)).await?,
        };
        instance.store.set_epoch_deadline(1);
        Ok(Self { place, instance })
    }

    /// Ends a call: the instance serves the next one, unless this one broke it.
    pub(super) fn leave<T>(
        mut self,
        outcome: Result<wasmtime::Result<T>, Overrun>,
    ) -> Result<T, CallError> {
        let value = finished(outcome)?;
        *self.place = Some(self.instance);
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
