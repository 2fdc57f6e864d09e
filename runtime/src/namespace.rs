//! A namespace that serves: its sockets, and who handles what happens to them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::config::PluginSettings;
use crate::hub::{self, Socket};
use crate::message::{CloseEvent, Message};
use crate::plugin::describe::NamespaceDescriptor;
use crate::plugin::{CallError, Event, Plugin};
use crate::telemetry::span;

/// The sockets behind a path and who handles them.
pub struct Namespace {
    sockets: Arc<hub::Namespace>,
    handler: Handler,
    settings: Arc<PluginSettings>,
    /// A name for logs and tables.
    pub name: String,
    /// The names of the middlewares before it, in their order.
    pub middlewares: Vec<String>,
    /// Where the handler comes from: the plugin's file.
    pub source: String,
    protocols: Vec<String>,
}

enum Handler {
    Plugin(Arc<Plugin>),
    Native(Box<dyn NativeHandler>),
}

/// A handler that is compiled into the host. It is there to be measured against: what a plugin costs is the difference
/// between the two.
pub trait NativeHandler: Send + Sync {
    /// Something has happened to a socket.
    fn handle(&self, sockets: &hub::Namespace, socket: &Arc<Socket>, event: Event<'_>);
}

/// What its peer is to be told of a handler: no more than that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerFailed {
    /// What it said is in the log.
    Reported,
    /// It has not been called, as its plugin is in quarantine.
    Quarantined,
}

impl Namespace {
    /// The namespace that a plugin has described.
    #[must_use]
    pub fn new(plugin: Arc<Plugin>, descriptor: &NamespaceDescriptor) -> Self {
        Self {
            sockets: descriptor.sockets.clone(),
            name: descriptor.name.clone(),
            middlewares: descriptor.middlewares.clone(),
            source: plugin.id().to_string(),
            protocols: descriptor.protocols.clone(),
            settings: plugin.settings(),
            handler: Handler::Plugin(plugin),
        }
    }

    /// A namespace with a handler of the host's own, without middlewares.
    #[must_use]
    pub fn native(
        sockets: hub::Namespace,
        handler: Box<dyn NativeHandler>,
        settings: Arc<PluginSettings>,
    ) -> Self {
        Self {
            sockets: Arc::new(sockets),
            handler: Handler::Native(handler),
            name: "native".into(),
            middlewares: Vec::new(),
            source: "native".into(),
            protocols: Vec::new(),
            settings,
        }
    }

    /// Its sockets and rooms.
    #[must_use]
    pub fn sockets(&self) -> &hub::Namespace {
        &self.sockets
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_sockets(&self) -> Arc<hub::Namespace> {
        self.sockets.clone()
    }

    /// What the configuration gives to it.
    #[must_use]
    pub fn settings(&self) -> &Arc<PluginSettings> {
        &self.settings
    }

    /// For how long its plugin still is in quarantine; none when it is not.
    #[must_use]
    pub fn quarantined(&self) -> Option<Duration> {
        match &self.handler {
            Handler::Plugin(plugin) => plugin.quarantined(),
            Handler::Native(_) => None,
        }
    }

    /// The subprotocol for a client that offers these, in the order of its preference: the first that the namespace
    /// lists, or simply the first when it lists none.
    #[must_use]
    pub fn choose_protocol<'a>(
        &self,
        offered: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        offered.into_iter().find(|offer| {
            self.protocols.is_empty() || self.protocols.iter().any(|listed| listed == offer)
        })
    }

    /// Takes a socket in and runs on-open.
    ///
    /// # Errors
    /// The handler failed. The socket is in all the same, and has to be closed.
    pub fn open(&self, socket: &Arc<Socket>) -> impl Future<Output = Result<(), HandlerFailed>> {
        self.sockets.insert(socket.clone());
        self.handle(socket, Event::Open)
    }

    /// Runs on-message.
    ///
    /// # Errors
    /// The handler failed.
    pub fn message(
        &self,
        socket: &Arc<Socket>,
        message: Message<'_>,
    ) -> impl Future<Output = Result<(), HandlerFailed>> {
        let bytes = message.payload().len();
        self.sockets.traffic().count_received(bytes);
        self.handle(socket, Event::Message(message))
    }

    /// Runs on-drain, when the plugin wants to know: all has been written of what waited for a slow peer.
    ///
    /// # Errors
    /// The handler failed.
    pub async fn drained(&self, socket: &Arc<Socket>) -> Result<(), HandlerFailed> {
        match &self.handler {
            Handler::Plugin(plugin) if plugin.hears_of_drains() => {}
            _ => return Ok(()),
        }
        // Boxed, as it is rare.
        Box::pin(self.handle(socket, Event::Drained)).await
    }

    /// Takes a socket out.
    pub async fn leave(&self, socket: &Socket) {
        let Some(mut leaving) = self.sockets.remove(socket) else {
            return;
        };
        let account = self.sockets.account();
        // Boxed, as it is rare.
        let rest = Box::pin(account.in_turns(|| self.sockets.remove_more(socket, &mut leaving)));
        rest.await;
    }

    /// Runs on-close, whose failure matters to nobody but the log, of a socket that has been taken out. Returns false when it
    /// has not run: the plugin is in quarantine.
    pub async fn close(&self, socket: &Arc<Socket>, event: &CloseEvent) -> bool {
        let closed = self.handle(socket, Event::Close(event)).await;
        !matches!(closed, Err(HandlerFailed::Quarantined))
    }

    /// Runs on-close after the quarantine of the plugin, unless another follows: who always fails there would never be done.
    pub async fn close_late(&self, socket: &Arc<Socket>, event: &CloseEvent) {
        let _ = self.handle(socket, Event::CloseLate(event)).await;
    }

    /// Not an async function: what it is called with would be kept twice in the task of each idle connection.
    fn handle(
        &self,
        socket: &Arc<Socket>,
        event: Event<'_>,
    ) -> impl Future<Output = Result<(), HandlerFailed>> {
        let plugin = match &self.handler {
            Handler::Plugin(plugin) => Some(plugin),
            Handler::Native(native) => {
                native.handle(&self.sockets, socket, event);
                None
            }
        };
        let traced = plugin.and_then(|plugin| self.traced(plugin, socket, event));
        async move {
            let Some(plugin) = plugin else {
                return Ok(());
            };
            let outcome = match traced {
                None => plugin.handle(socket, event).await,
                Some(call) => call.await,
            };
            outcome.map_err(|error| self.failed(plugin, socket, event, &error))
        }
    }

    fn failed(
        &self,
        plugin: &Plugin,
        socket: &Socket,
        event: Event<'_>,
        error: &CallError,
    ) -> HandlerFailed {
        if let (Event::Close(_), CallError::Quarantined) = (event, error) {
            return HandlerFailed::Quarantined;
        }
        let failures = plugin.report(error);
        if plugin.may_log() {
            tracing::warn!(
                failures,
                plugin = self.source,
                ns = self.sockets.path(),
                conn = %socket.id(),
                "{}: {error}",
                name(event)
            );
        }
        HandlerFailed::Reported
    }

    /// A call that is traced; none when there are no traces. Boxed, as it is rare, so that it takes no room in the task of
    /// each idle connection.
    fn traced(
        &self,
        plugin: &Plugin,
        socket: &Arc<Socket>,
        event: Event<'_>,
    ) -> Option<Pin<Box<impl Future<Output = Result<(), CallError>>>>> {
        let span = span!(
            name(event),
            plugin = self.source,
            ns = self.sockets.path(),
            conn = %socket.id(),
        );
        (!span.is_disabled()).then(|| Box::pin(plugin.handle(socket, event).instrument(span)))
    }
}

/// What the handler of an event is called.
fn name(event: Event<'_>) -> &'static str {
    match event {
        Event::Open => "on-open",
        Event::Message(_) => "on-message",
        Event::Drained => "on-drain",
        Event::Close(_) | Event::CloseLate(_) => "on-close",
    }
}
