//! What is served, and how it changes while the server runs.

mod reload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin::{Action, Admin, Order};
use crate::hub::{self, CloseCode, Socket};
use crate::net::Server;
use crate::net::router::Router;
use crate::plugin::catalog::{Catalog, Change};
use crate::plugin::describe::Loaded;
use crate::plugin::load::Content;
use crate::plugin::{Generation, Plugin, ReplaceError};
use crate::service::{Lease, Leases, Service};
use crate::ulak::{Served, Ulak};

/// How many sockets are closed at once; then others get their turn.
const CLOSE_BATCH: usize = 256;

/// How long a change of one plugin may hold up those of others. What is not done then goes on by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is served, and who has to hear when that changes.
pub(super) struct Serving {
    pub(super) server: Arc<Server>,
    ulak: Arc<Ulak>,
    /// By the names of their plugins.
    pub(super) services: BTreeMap<String, Service>,
    /// Where these get leave to run their schedules.
    leases: Leases,
    /// Those of plugins that are gone, until they have stopped.
    pub(super) ending: BTreeMap<String, JoinHandle<()>>,
    pub(super) admin: Arc<Admin>,
}

impl Serving {
    /// What is loaded so far, without its services.
    pub(super) fn new(
        server: Arc<Server>,
        ulak: Arc<Ulak>,
        admin: Arc<Admin>,
        leases: Leases,
        catalog: &Catalog,
    ) -> Self {
        let serving = Self {
            server,
            ulak,
            services: BTreeMap::new(),
            leases,
            ending: BTreeMap::new(),
            admin,
        };
        serving.set_router(Router::new(catalog.loaded()));
        serving.tell(catalog);
        serving
    }

    /// Tells the admin which plugins there are, and what has become of them.
    pub(super) fn tell(&self, catalog: &Catalog) {
        let router = self.server.router();
        let missing = |loaded: &Loaded| router.missing(&loaded.plugin);
        self.admin.set_plugins(catalog.list(), missing);
    }

    /// Answers and addresses by other routes from now on.
    fn set_router(&self, router: Router) {
        let namespaces = router.routes().into_iter();
        self.ulak.set_served(namespaces.map(|route| Served {
            tenant: route.tenant.clone(),
            sockets: route.namespace.shared_sockets(),
        }));
        self.server.set_router(router);
    }

    /// Starts the services of these plugins, and waits until all of them have.
    pub(super) async fn start_services(&mut self, plugins: &[Arc<Loaded>]) {
        let mut starting = Vec::new();
        for loaded in plugins {
            if let Some(descriptor) = &loaded.service {
                let key = loaded.plugin.id().key();
                // Of two with one name, the first is to be done before the second begins.
                if let Some(ending) = self.ending.remove(&key) {
                    let _ = timeout(PATIENCE, ending).await;
                }
                let service = Service::start(loaded.plugin.clone(), descriptor, &self.leases);
                // At once: a server that stops meanwhile stops them too.
                self.services.insert(key.clone(), service);
                starting.push(key);
            }
        }
        for key in starting {
            if let Some(service) = self.services.get_mut(&key) {
                let _ = timeout(PATIENCE, service.started()).await;
            }
        }
    }

    /// Has the plugins of the catalog served, and tells the log which paths that adds, and which are served no more because
    /// a middleware is gone, or not yet.
    fn serve(&self, catalog: &Catalog) {
        let before = self.server.router();
        self.set_router(Router::new(catalog.loaded()));
        let router = self.server.router();
        for route in router.routes() {
            let path = route.namespace.sockets().path();
            if before.find(path).is_none() {
                tracing::info!("serving {path} from {}", route.namespace.source);
            }
        }
        for waiting in router.waiting() {
            let known = before.waiting();
            if !known
                .iter()
                .any(|old| old.path == waiting.path && old.missing == waiting.missing)
            {
                tracing::warn!("{}", waiting.in_words());
            }
        }
        for route in router.controllers() {
            let mount = &route.controller.mount;
            let known = before.controllers();
            if !known.iter().any(|old| old.controller.mount == *mount) {
                tracing::info!("serving {mount}/ from {}", route.controller.source());
            }
        }
        self.tell(catalog);
    }

    /// Makes a change take effect.
    pub(super) async fn apply(&mut self, catalog: &mut Catalog, change: Change) {
        match change {
            Change::Added(new, content) => {
                let id = new.plugin.id();
                tracing::info!(plugin = %id, "loaded {id}");
                catalog.took_effect(Change::Added(new.clone(), content));
                self.serve(catalog);
                self.start_services(&[new]).await;
            }
            Change::Replaced { old, new, content } => {
                _ = self.replace(catalog, old, new, content).await;
            }
            Change::Removed(old) => {
                let id = old.plugin.id();
                tracing::info!(plugin = %id, "{id} is served no more");
                catalog.took_effect(Change::Removed(old.clone()));
                self.serve(catalog);
                // What it still has to do, it does also when it has failed too often before.
                old.plugin.lift_quarantine();
                if let Some(service) = self.services.remove(&old.plugin.id().key()) {
                    self.ending.retain(|_, ending| !ending.is_finished());
                    let key = old.plugin.id().key();
                    self.ending.insert(key, tokio::spawn(service.stop()));
                }
                self.end(&old, "The plugin was removed").await;
            }
        }
    }

    /// Puts one generation of a plugin in the place of another.
    async fn replace(
        &mut self,
        catalog: &mut Catalog,
        old: Arc<Loaded>,
        new: Arc<Loaded>,
        content: Content,
    ) -> Result<(), String> {
        let (plugin, id) = (&new.plugin, new.plugin.id());
        let key = id.key();
        if !Arc::ptr_eq(plugin, &old.plugin) {
            return self.exchange(catalog, old, new, content).await;
        }
        let lease = self.hand_over(&key).await;
        self.set_router(
            Router::new(&with(catalog, &old, &new)).as_strict_as(&self.server.router()),
        );
        let replaced = take_over(plugin, new.generation.clone()).await;
        plugin.tally().count_replacement(replaced.is_ok());
        let serving = match &replaced {
            Ok(()) => &new,
            Err(_) => &old,
        };
        if let Some(descriptor) = &serving.service {
            let service = Service::go_on(plugin.clone(), descriptor, &self.leases, lease);
            self.services.insert(key, service);
        }
        let change = Change::Replaced {
            old: old.clone(),
            new: new.clone(),
            content,
        };
        let outcome = match replaced {
            Ok(()) => {
                let generation = new.generation.number;
                tracing::info!(plugin = %id, "replaced {id}: generation {generation}");
                catalog.took_effect(change);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                catalog.failed(change, error.into());
                Err(why)
            }
        };
        self.serve(catalog);
        outcome
    }

    /// Has a service, when the plugin has one, do nothing more until somebody goes on with it, and with its lease.
    async fn hand_over(&mut self, key: &str) -> Option<Lease> {
        let service = self.services.remove(key)?;
        let handed = timeout(PATIENCE, service.hand_over()).await;
        handed.ok().flatten()
    }

    /// Puts a plugin in the place of another that serves another path.
    async fn exchange(
        &mut self,
        catalog: &mut Catalog,
        old: Arc<Loaded>,
        new: Arc<Loaded>,
        content: Content,
    ) -> Result<(), String> {
        old.plugin.lift_quarantine();
        if let Some(service) = self.services.remove(&old.plugin.id().key()) {
            let _ = timeout(PATIENCE, service.stop()).await;
        }
        let (id, generation) = (new.plugin.id(), new.generation.number);
        tracing::info!(
            plugin = %id,
            "replaced {id}: generation {generation}, which serves another path"
        );
        catalog.took_effect(Change::Replaced {
            old: old.clone(),
            new: new.clone(),
            content,
        });
        self.serve(catalog);
        self.end(&old, "The plugin was replaced").await;
        self.start_services(&[new]).await;
        Ok(())
    }

    /// Closes the sockets of a plugin that does not serve them any more.
    async fn end(&self, plugin: &Loaded, reason: &str) {
        if let Some(namespace) = &plugin.namespace {
            let sockets = namespace.sockets.end(CloseCode::GoingAway, reason);
            close(&sockets, CloseCode::GoingAway, reason).await;
        }
    }

    /// Does what the operator wants.
    pub(super) async fn obey(
        &mut self,
        catalog: &mut Catalog,
        order: &Order,
    ) -> Result<(), String> {
        let key = &order.plugin;
        match order.action {
            // The rest follows from the next look at the folder.
            Action::Disable => catalog.set_disabled(key, true)?,
            Action::Enable => catalog.set_disabled(key, false)?,
            Action::Release => catalog.loaded_of(key)?.plugin.lift_quarantine(),
            Action::RollBack => match catalog.roll_back(key).await? {
                Change::Replaced { old, new, content } => {
                    return self.replace(catalog, old, new, content).await;
                }
                change => self.apply(catalog, change).await,
            },
        }
        self.tell(catalog);
        Ok(())
    }
}

/// Has a generation of a plugin serve, unless that takes too long.
async fn take_over(plugin: &Plugin, generation: Arc<Generation>) -> Result<(), ReplaceError> {
    let replacing = hub::in_turns(plugin.replace(generation));
    let replaced = timeout(PATIENCE, replacing).await;
    replaced.unwrap_or(Err(ReplaceError::TooSlow))
}

/// What will be loaded when one has taken the other's place.
fn with(catalog: &Catalog, old: &Arc<Loaded>, new: &Arc<Loaded>) -> Vec<Arc<Loaded>> {
    let loaded = catalog.loaded().iter();
    let chosen = loaded.map(|it| if Arc::ptr_eq(it, old) { new } else { it });
    chosen.cloned().collect()
}

/// Closes sockets once their handlers are done with the message in hand, some at a time.
pub(super) async fn close(sockets: &[Arc<Socket>], code: CloseCode, reason: &str) {
    for batch in sockets.chunks(CLOSE_BATCH) {
        for socket in batch {
            socket.close_between_messages(code, reason);
        }
        tokio::task::yield_now().await;
    }
}
