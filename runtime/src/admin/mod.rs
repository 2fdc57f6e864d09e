//! What the operator asks of a running server: whether it is ready, which plugins there are, and to disable, enable, roll back
//! or release one.
//!
//! It is HTTP with JSON on a Unix socket, which only the server's own user can open. Nothing here stands in the way of a
//! message.

mod client;
mod info;
mod listener;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use self::client::{AskError, Client};
pub use self::info::{Calls, Messages, PluginInfo, Status, Uses};
pub use self::listener::{bind, serve};
use crate::metrics::Metrics;
use crate::plugin::catalog::Listed;
use crate::plugin::describe::Loaded;
use crate::plugin::host::one_line;

/// Orders that may wait to be carried out.
const WAITING: usize = 16;

/// What is to be done with a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is served no more; its sockets are closed.
    Disable,
    /// It is served again.
    Enable,
    /// It becomes again what it was before its file was replaced.
    RollBack,
    /// It is let out of quarantine.
    Release,
}

/// An order for a plugin, in a form that can be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// `NAME`, or `TENANT/NAME`.
    pub plugin: String,
    /// What to do.
    pub action: Action,
}

/// An order on its way to whoever carries it out.
pub struct Command {
    /// The order.
    pub order: Order,
    /// Where to tell how it went.
    pub done: oneshot::Sender<Result<(), String>>,
}

/// What the server knows of its plugins, for whoever asks.
pub struct Admin {
    metrics: Arc<Metrics>,
    ready: AtomicBool,
    plugins: ArcSwap<Vec<Known>>,
    commands: mpsc::Sender<Command>,
}

/// One plugin, as it was after the last change.
struct Known {
    name: String,
    loaded: Option<Arc<Loaded>>,
    disabled: bool,
    rolled_back: bool,
    has_previous: bool,
    refusal: Option<String>,
}

impl Admin {
    /// One that knows of no plugins, and where what is asked of it arrives.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, orders) = mpsc::channel(WAITING);
        let plugins = ArcSwap::default();
        let ready = AtomicBool::new(false);
        let admin = Self {
            metrics,
            ready,
            plugins,
            commands,
        };
        (Arc::new(admin), orders)
    }

    /// Whether who distributes connections should send any here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether it should: once the services have started, and until the server is to stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// These are the plugins from now on.
    pub fn set_plugins<'a>(&self, plugins: impl Iterator<Item = Listed<'a>>) {
        let known = plugins.map(|listed| Known {
            name: PathBuf::from(listed.file)
                .with_extension("")
                .display()
                .to_string(),
            loaded: listed.loaded.cloned(),
            disabled: listed.disabled,
            rolled_back: listed.rolled_back,
            has_previous: listed.has_previous,
            // It may quote what the plugin says.
            refusal: listed.refusal.map(|refusal| one_line(&refusal.to_string())),
        });
        self.plugins.store(Arc::new(known.collect()));
    }

    /// What is served of the plugins now.
    #[must_use]
    pub fn loaded(&self) -> Vec<Arc<Loaded>> {
        let known = self.plugins.load();
        known.iter().filter_map(|it| it.loaded.clone()).collect()
    }

    /// The plugins as they are now.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginInfo> {
        self.plugins.load().iter().map(PluginInfo::from).collect()
    }
}
