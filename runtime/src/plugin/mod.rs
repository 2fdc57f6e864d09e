//! Plugins: found in a folder, compiled, described, instantiated in a sandbox, called.
//!
//! A [`Plugin`] is entered by whoever has an event for it, one at a time and in the order of their coming. There is no
//! task of its own and no queue: a connection that has read a message calls the handler itself, and reads the next
//! one when it has returned. That keeps the order of a socket, holds back a peer that is faster than its handler, and
//! costs no wake.

pub mod catalog;
pub mod engine;
pub mod host;
pub mod load;
pub mod metadata;

mod bindings;
mod cache;
mod code;
mod instance;
mod place;
mod sandbox;

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use hyper::http::{HeaderMap, StatusCode};
use wasmtime::Engine;
use wasmtime::component::{Linker, Resource};

use self::bindings::exports::tulpar::plugin::middleware_handler;
use self::bindings::tulpar::plugin::types;
use self::cache::Cache;
use self::code::{Code, Codes};
use self::host::{ContextHandle, HostState, RequestContext};
use self::instance::{Entry, Instance};
use self::place::Place;
pub use self::sandbox::Overrun;
use crate::backplane::Backplane;
use crate::config::{Config, Limits};
use crate::hub::{self, Socket};
use crate::ids::PluginId;
use crate::message::{CloseEvent, Message};

/// The largest body of a middleware's response, in bytes.
const MAX_RESPONSE_BODY: usize = 1 << 20;

/// What all plugins of the process share.
pub struct Shared {
    engine: Engine,
    linker: Linker<HostState>,
    cache: Cache,
    codes: Codes,
    limits: Limits,
    backplane: Box<dyn Backplane>,
}

impl Shared {
    /// Sets up the engine, its imports and the cache.
    ///
    /// # Errors
    /// The engine cannot be set up, see [`engine::new`].
    pub fn new(config: &Config, backplane: Box<dyn Backplane>) -> anyhow::Result<Arc<Self>> {
        let engine = engine::new(&config.limits)?;
        Ok(Arc::new(Self {
            linker: engine::linker(&engine)?,
            cache: Cache::new(&config.cache, config.limits.cache_bytes, &engine),
            codes: Codes::default(),
            limits: config.limits.clone(),
            backplane,
            engine,
        }))
    }

    /// Bytes that a guest may hand over in one call of a host function: a whole message and some small change.
    fn hostcall_fuel(&self) -> usize {
        self.limits.max_message_bytes + (1 << 20)
    }
}

/// A component that has been loaded, and its instance when it has one.
pub struct Plugin {
    id: Arc<PluginId>,
    shared: Arc<Shared>,
    code: Arc<Code>,
    /// The sockets of its namespace; set once it has said that it has one.
    namespace: OnceLock<Arc<hub::Namespace>>,
    place: Place<Box<Instance>>,
}

/// What happens to a socket.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It has connected.
    Open,
    /// Its peer has sent a message.
    Message(Message<'a>),
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
    /// The guest took too long. Its instance is gone.
    #[error("{0}")]
    Overrun(Overrun),
    /// The component does not export what was called, which is a defect of the host.
    #[error("the component does not export {0}")]
    NotExported(&'static str),
}

/// The cause of a trap in one line. The guest's own panic message has gone to the log before.
fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}

impl Plugin {
    /// Which plugin it is.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.id
    }

    /// Tells the namespace's handler what has happened to a socket.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The handler returned an error, trapped or took too long.
    pub async fn handle(&self, socket: &Arc<Socket>, event: Event<'_>) -> Result<(), CallError> {
        let mut entry = Entry::new(self).await?;
        let Instance {
            store,
            clock,
            namespace: Some(guest),
            ..
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("namespace-handler"));
        };
        let lent = store.data_mut().handles.lend(socket.clone());
        let place = lent.rep();
        let outcome = match event {
            Event::Open => clock.run(pin!(guest.call_on_open(&mut *store, lent))).await,
            Event::Message(message) => {
                let message = match message {
                    Message::Text(text) => types::MessageParam::Text(text),
                    Message::Binary(bytes) => types::MessageParam::Binary(bytes),
                };
                clock
                    .run(pin!(guest.call_on_message(&mut *store, lent, message)))
                    .await
            }
            Event::Close(event) => {
                let event = types::CloseEvent {
                    code: event.code,
                    reason: &event.reason,
                };
                clock
                    .run(pin!(guest.call_on_close(&mut *store, lent, event)))
                    .await
            }
        };
        store.data_mut().handles.take_back(place);
        entry.leave(outcome)?.map_err(CallError::Handler)
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
        let mut entry = Entry::new(self).await?;
        let Instance {
            store,
            clock,
            middleware: Some(guest),
            ..
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("middleware-handler"));
        };
        store.data_mut().request = Some(request);
        let context = Resource::<ContextHandle>::new_borrow(0);
        let outcome = clock
            .run(pin!(guest.call_handle(&mut *store, context)))
            .await;
        let request = store.data_mut().request.take();
        let verdict = entry.leave(outcome)?.map_err(CallError::Handler)?;
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
