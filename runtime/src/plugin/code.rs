//! What is made of a component's bytes alone. Plugins that consist of the same bytes share it: the same file under a
//! hundred tenants is one piece of code, in memory and in the processor's caches. Their instances share nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};

use wasmtime_wasi_http::p2::bindings::exports::wasi::http::incoming_handler;

use super::bindings::exports::tulpar::plugin::{
    controller_handler, drain_hook, middleware_handler, namespace_handler, reload_hook,
    service_handler,
};
use super::host::HostState;
use super::load::{CONTRACT, Refusal};

/// What a controller exports. Any version of WASI 0.2 fits this name.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

/// A component that fits the host.
pub(super) struct Code {
    pub(super) component: InstancePre<HostState>,
    pub(super) namespace: Option<namespace_handler::GuestIndices>,
    /// How its namespace hears that it takes over open sockets, when it wants to.
    pub(super) reload: Option<reload_hook::GuestIndices>,
    /// How its namespace hears that a slow peer has got everything, when it wants to.
    pub(super) drain: Option<drain_hook::GuestIndices>,
    pub(super) middleware: Option<middleware_handler::GuestIndices>,
    pub(super) service: Option<service_handler::GuestIndices>,
    /// What a controller says of itself, when it does.
    pub(super) controller: Option<controller_handler::GuestIndices>,
    /// What a controller does.
    pub(super) incoming: Option<incoming_handler::GuestIndices>,
    /// Whether it imports the key-value store.
    pub(super) keeps: bool,
}

impl Code {
    /// Checks a component against what the host offers and calls.
    ///
    /// # Errors
    /// It does not fit, or exports no handler.
    pub(super) fn new(linker: &Linker<HostState>, component: &Component) -> Result<Self, Refusal> {
        let component_pre = linker
            .instantiate_pre(component)
            .map_err(|error| Refusal::Import(import_said(&error)))?;
        let exports = |name: &str| component.get_export_index(None, name).is_some();
        let has = |handler: &str| exports(&handler_name(handler));
        let shape = |error: wasmtime::Error| Refusal::WrongShape(said(&error));
        let code = Self {
            namespace: has("namespace-handler")
                .then(|| namespace_handler::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            reload: has("reload-hook")
                .then(|| reload_hook::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            drain: has("drain-hook")
                .then(|| drain_hook::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            middleware: has("middleware-handler")
                .then(|| middleware_handler::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            service: has("service-handler")
                .then(|| service_handler::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            controller: has("controller-handler")
                .then(|| controller_handler::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            incoming: exports(INCOMING_HANDLER)
                .then(|| incoming_handler::GuestIndices::new(&component_pre))
                .transpose()
                .map_err(shape)?,
            keeps: component
                .component_type()
                .imports(component.engine())
                .any(|(name, _)| name.starts_with("wasi:keyvalue/")),
            component: component_pre,
        };
        if code.controller.is_some() && code.incoming.is_none() {
            return Err(Refusal::NoController);
        }
        if code.namespace.is_none()
            && code.middleware.is_none()
            && code.service.is_none()
            && code.incoming.is_none()
        {
            return Err(Refusal::NoHandler(exported(component)));
        }
        Ok(code)
    }
}

/// The code of the plugins that are loaded, by the hash of their bytes.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<blake3::Hash, Weak<Code>>>);

impl Codes {
    /// The code that some loaded plugin has already.
    pub(super) fn get(&self, hash: &blake3::Hash) -> Option<Arc<Code>> {
        let codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.get(hash)?.upgrade()
    }

    /// Remembers code for as long as somebody uses it.
    pub(super) fn add(&self, hash: blake3::Hash, code: &Arc<Code>) {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.strong_count() > 0);
        codes.insert(hash, Arc::downgrade(code));
    }
}

fn handler_name(handler: &str) -> String {
    CONTRACT.replace('@', &format!("/{handler}@"))
}

/// How much is said of what a component exports, in bytes.
const MAX_EXPORTED: usize = 1 << 10;

/// What a component exports, in words.
fn exported(component: &Component) -> String {
    let component_type = component.component_type();
    let names: Vec<_> = component_type
        .exports(component.engine())
        .filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        .map(|(name, _)| name.to_owned())
        .collect();
    if names.is_empty() {
        return "nothing".into();
    }
    let mut names = names.join(", ");
    names.truncate(names.floor_char_boundary(MAX_EXPORTED));
    names
}

/// An error with its causes, in one line.
pub(super) fn said(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Which import does not fit. The causes tell why, unless the reason is that there is nothing at all.
fn import_said(error: &wasmtime::Error) -> String {
    match error.root_cause().to_string().contains("is missing") {
        true => error.to_string(),
        false => said(error),
    }
}
