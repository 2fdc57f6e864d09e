//! The host functions, one file per imported interface, and the state they work on: one for each instance.
//!
//! A host function never calls back into a guest. It looks things up in the hub, queues frames, and answers. What it
//! waits for, the store's disk and other hosts, counts as the guest's time.

mod clocks;
mod cluster;
mod config;
mod http;
mod keyvalue;
mod log;
mod outgoing;
mod output;
mod rooms;
mod sockets;
mod ulak;

use std::sync::Arc;

use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use self::http::{ContextHandle, RequestContext, ResponseHeaders};
pub use self::keyvalue::BucketHandle;
use self::keyvalue::Buckets;
use self::outgoing::Outgoing;
pub(super) use self::outgoing::link_error_code;
pub use self::output::one_line;
pub(super) use self::sockets::Handles;
pub use self::sockets::SocketHandle;
use self::ulak::Broker;
use super::bindings::tulpar::plugin::types;
use super::log::PluginLog;
use super::sandbox::{Clock, Deadline, HostCalls, Limiter};
use super::{Generation, Plugin, Shared};
use crate::config::{Limits, PluginSettings};
use crate::hub;
use crate::message::Message;
use crate::quota::{Account, Hold, Spent};
use crate::store;

/// The most JSON a plugin may attach to one connection, in bytes.
pub const MAX_VALUES: usize = 64 << 10;

/// Handles of WASI that an instance may hold at once: streams, requests, bodies. A request has about ten. Behind each
/// there may be 128 KiB, of headers or of a body that waits.
const WASI_HANDLES: usize = 256;
/// Random bytes that one call may ask for. They are drawn on the thread that serves.
const MAX_RANDOM: u64 = 64 << 10;

/// The data of a store.
pub struct HostState {
    pub(super) shared: Arc<Shared>,
    /// The namespace the plugin serves, when it serves one.
    pub(super) namespace: Option<Arc<hub::Namespace>>,
    pub(super) handles: Handles,
    /// The request that a middleware is deciding about.
    pub(super) request: Option<Box<RequestContext>>,
    pub(super) limiter: Limiter,
    pub(super) clock: Clock,
    pub(super) host_calls: HostCalls,
    account: Account,
    /// That there is one more instance.
    _instance: Hold,
    log: Arc<PluginLog>,
    settings: Arc<PluginSettings>,
    broker: Broker,
    store: Arc<store::Access>,
    buckets: Buckets,
    outgoing: Outgoing,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl HostState {
    /// The state of a new instance, each of whose calls may take as long as `deadline` says.
    pub(super) fn new(
        plugin: &Plugin,
        generation: &Generation,
        deadline: Deadline,
        instance: Hold,
    ) -> Self {
        let settings = plugin.settings();
        let limits = &settings.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(WASI_HANDLES);
        let wasi = WasiCtx::builder()
            .stdout(output::Lines::new(plugin.log.clone(), tracing::Level::INFO))
            .stderr(output::Lines::new(plugin.log.clone(), tracing::Level::WARN))
            .wall_clock(clocks::Wall(plugin.shared.clock.clone()))
            .monotonic_clock(clocks::Monotonic::new(plugin.shared.clock.clone()))
            .max_random_size(MAX_RANDOM)
            .build();
        Self {
            namespace: generation.namespace.clone(),
            handles: Handles::new(limits.handles),
            request: None,
            limiter: Limiter::new(limits.instance_memory_bytes, plugin.account.clone()),
            clock: Clock::new(deadline, plugin.account.clone(), plugin.tally.clone()),
            host_calls: HostCalls::new(limits.host_calls, plugin.account.clone()),
            account: plugin.account.clone(),
            _instance: instance,
            settings: settings.clone(),
            broker: Broker::new(plugin),
            store: plugin.store.clone(),
            buckets: Buckets::new(limits.handles),
            outgoing: Outgoing::new(plugin),
            wasi,
            http: WasiHttpCtx::new(),
            table,
            log: plugin.log.clone(),
            shared: plugin.shared.clone(),
        }
    }

    /// Sends to an audience of the plugin's own namespace; without one there is nobody.
    fn publish(
        &self,
        audience: hub::Audience<'_>,
        message: &types::MessageResult,
    ) -> Result<u32, types::SocketError> {
        if let hub::Audience::Room { name, .. } = audience
            && !hub::Namespace::is_room_name(name)
        {
            return Err(types::SocketError::InvalidArgument);
        }
        let frame = encode(message, &self.settings.limits, &self.account)?;
        // What does not reach other nodes is counted there: the message is this node's sockets' all the same.
        let addressed = self.namespace.as_ref().map_or(0, |namespace| {
            let published = self.shared.backplane.publish(namespace, audience, &frame);
            published.here
        });
        self.account.charge(Spent::Deliveries, u64::from(addressed));
        Ok(addressed)
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outgoing,
        }
    }
}

impl types::Host for HostState {}

impl From<hub::SendError> for types::SocketError {
    fn from(error: hub::SendError) -> Self {
        match error {
            hub::SendError::Closed => Self::Closed,
            hub::SendError::Backpressure => Self::Backpressure,
        }
    }
}

impl From<hub::JoinError> for types::SocketError {
    fn from(error: hub::JoinError) -> Self {
        match error {
            hub::JoinError::Closed => Self::Closed,
            hub::JoinError::InvalidName => Self::InvalidArgument,
            hub::JoinError::TooMany => Self::LimitExceeded,
        }
    }
}

/// The frame of a message, unless it is too large or more than the account allows at the moment.
fn encode(
    message: &types::MessageResult,
    limits: &Limits,
    account: &Account,
) -> Result<hub::Frame, types::SocketError> {
    let message = match message {
        types::MessageResult::Text(text) => Message::Text(text),
        types::MessageResult::Binary(bytes) => Message::Binary(bytes),
    };
    if message.payload().len() > limits.max_message_bytes {
        return Err(types::SocketError::TooLarge);
    }
    if account.exhausted(Spent::Deliveries).is_some() {
        return Err(types::SocketError::LimitExceeded);
    }
    hub::Frame::counted(message, account).ok_or(types::SocketError::LimitExceeded)
}

/// The text, when it is JSON and no longer than [`MAX_VALUES`].
fn checked_json(json: String) -> Result<Arc<str>, types::SocketError> {
    if json.len() > MAX_VALUES {
        return Err(types::SocketError::TooLarge);
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(&json) {
        Ok(_) => Ok(json.into()),
        Err(_) => Err(types::SocketError::InvalidArgument),
    }
}

/// The same for those who want it in words.
fn checked_json_in_words(json: String) -> Result<Arc<str>, String> {
    checked_json(json).map_err(|error| match error {
        types::SocketError::TooLarge => format!("the JSON text is over {MAX_VALUES} bytes"),
        _ => "the text is not JSON".to_owned(),
    })
}
