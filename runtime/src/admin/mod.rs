//! What the operator asks of a running server: whether it is ready, what it counts, which plugins there are and who is
//! connected; and to do something about a plugin or a socket.
//!
//! It is HTTP with JSON on a Unix socket, which only the server's own user can open, and on an address when there is to be
//! one, with a page that asks for the same. Nothing here stands in the way of a message.

mod answer;
mod client;
mod guard;
mod info;
mod joined;
mod listener;
mod listing;
mod numbers;
mod overview;
mod page;
mod routes;
mod sockets;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::answer::Refused;
pub use self::client::{AskError, Client};
pub use self::info::{Calls, Messages, PluginInfo, Status, Uses};
pub use self::listener::{Address, Door, serve};
use self::upload::Uploads;
use crate::backplane::Backplane;
use crate::config::{CutOff, Live};
use crate::hub;
use crate::ids::NodeId;
use crate::metrics::Metrics;
use crate::plugin::catalog::Listed;
use crate::plugin::describe::Loaded;
use crate::plugin::host::one_line;
use crate::telemetry::recent::RECENT;

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

/// What stays as it is while the server runs.
pub struct About {
    /// The server's node.
    pub node: NodeId,
    /// Where clients connect: `http://ADDRESS`, `https://ADDRESS` or `unix:PATH`.
    pub address: String,
    /// When it started.
    pub started: Instant,
}

/// What the server knows of its plugins, for whoever asks.
pub struct Admin {
    about: About,
    config: Live,
    metrics: Arc<Metrics>,
    /// Where files go that are sent; none when none are taken.
    uploads: Option<Uploads>,
    started: AtomicBool,
    stopping: AtomicBool,
    /// Since when this node is cut off from the others; none when it is not.
    cut_off: Mutex<Option<Instant>>,
    backplane: Arc<dyn Backplane>,
    plugins: ArcSwap<Vec<Known>>,
    commands: mpsc::Sender<Command>,
}

/// One plugin, as it was after the last change.
struct Known {
    name: String,
    loaded: Option<Arc<Loaded>>,
    /// See [`PluginInfo::missing`].
    missing: BTreeMap<String, Vec<String>>,
    disabled: bool,
    rolled_back: bool,
    has_previous: bool,
    refusal: Option<String>,
    inode: Option<u64>,
}

impl Admin {
    /// One that knows of no plugins, and where what is asked of it arrives.
    #[must_use]
    pub fn new(
        about: About,
        config: &Live,
        metrics: Arc<Metrics>,
        backplane: Arc<dyn Backplane>,
    ) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, orders) = mpsc::channel(WAITING);
        let admin = Self {
            about,
            metrics,
            config: config.clone(),
            uploads: Uploads::new(config),
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            cut_off: Mutex::default(),
            backplane,
            plugins: ArcSwap::default(),
            commands,
        };
        (Arc::new(admin), orders)
    }

    /// The services have started.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// The server is to stop, whether it has started or not.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether who distributes connections should send any here: once the services have started, and until the server is to
    /// stop. Not while it closes its clients because it is cut off from the other nodes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let closes = self.config.load().backplane.cut_off == CutOff::Close;
        let serves = self.started.load(Ordering::Relaxed) && !self.stopping.load(Ordering::Relaxed);
        serves && !(closes && self.cut_off().is_some())
    }

    /// Since when it is cut off from the other nodes; none when it is not.
    pub fn set_cut_off(&self, since: Option<Instant>) {
        *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when it is cut off from the other nodes; none when it is not.
    #[must_use]
    pub fn cut_off(&self) -> Option<Instant> {
        *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the plugins from now on. `missing` gives the paths of one that are not served, and the
    /// middlewares that each waits for.
    pub fn set_plugins<'a>(
        &self,
        plugins: impl Iterator<Item = Listed<'a>>,
        missing: impl Fn(&Loaded) -> BTreeMap<String, Vec<String>>,
    ) {
        let known = plugins.map(|listed| Known {
            name: PathBuf::from(listed.file)
                .with_extension("")
                .display()
                .to_string(),
            missing: listed.loaded.map(|it| missing(it)).unwrap_or_default(),
            loaded: listed.loaded.cloned(),
            disabled: listed.disabled,
            rolled_back: listed.rolled_back,
            has_previous: listed.has_previous,
            // It may quote what the plugin says.
            refusal: listed.refusal.map(|refusal| one_line(&refusal.to_string())),
            inode: listed.inode,
        });
        let known: Vec<Known> = known.collect();
        RECENT.keep(&known.iter().map(|it| it.name.as_str()).collect());
        self.plugins.store(Arc::new(known));
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

    /// The plugin that serves the namespace of that path.
    ///
    /// # Errors
    /// There is none.
    fn loaded_at(&self, path: &str) -> Result<Arc<Loaded>, Refused> {
        let known = self.plugins.load();
        let mut loaded = known.iter().filter_map(|known| known.loaded.as_ref());
        let is_it = |it: &&Arc<Loaded>| {
            let namespace = it.namespace.as_ref();
            namespace.is_some_and(|it| it.sockets.path() == path)
        };
        let found = loaded.find(is_it).cloned();
        found.ok_or_else(|| no_namespace(path))
    }

    /// The sockets of the namespace of that path.
    ///
    /// # Errors
    /// There is none.
    fn sockets_of(&self, path: &str) -> Result<Arc<hub::Namespace>, Refused> {
        let loaded = self.loaded_at(path)?;
        let namespace = loaded.namespace.as_ref().map(|it| it.sockets.clone());
        namespace.ok_or_else(|| no_namespace(path))
    }
}

fn no_namespace(path: &str) -> Refused {
    (
        StatusCode::NOT_FOUND,
        format!("there is no namespace {path:?}"),
    )
}
