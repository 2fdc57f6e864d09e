//! The composition root: from a configuration to a server that runs, and to its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout, timeout_at};

use crate::admin::{self, Action, Admin, Command, Order};
use crate::backplane::{Backplane, Local};
use crate::config::Config;
use crate::hub::{self, CloseCode, Socket};
use crate::ids::NodeId;
use crate::net::router::Router;
use crate::net::{self, Server};
use crate::plugin::Shared;
use crate::plugin::catalog::{Catalog, Change};
use crate::plugin::compile::Compiler;
use crate::plugin::describe::Loaded;
use crate::plugin::load::Content;
use crate::service::Service;
use crate::ulak::{Served, Ulak};

/// How many sockets are closed at once when the server stops; then others get their turn.
const CLOSE_BATCH: usize = 256;

/// The part of the grace time that is kept for services, when there are some: a quarter.
const FOR_SERVICES: u32 = 4;

/// How many tasks a thread polls before it asks the network again, when it never runs out of them: as many as it can
/// hear of at once, so that each has had its turn. Asked sooner, a busy thread keeps serving those that answer quickly
/// and forgets the others. Guests that compute do not count, see [`crate::plugin`].
const ROUND: u32 = 1024;

/// The threads that serve, one for each core.
///
/// # Errors
/// The operating system does not give them.
pub fn threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(ROUND)
        .build()
}

/// A server that has loaded its plugins and holds its address.
pub struct App {
    config: Config,
    catalog: Catalog,
    serving: Serving,
    commands: mpsc::Receiver<Command>,
    listener: TcpListener,
}

/// What is served, and who has to hear when that changes.
struct Serving {
    server: Arc<Server>,
    ulak: Arc<Ulak>,
    /// By the names of their plugins.
    services: BTreeMap<String, Service>,
    /// Those of plugins that are gone.
    ending: JoinSet<()>,
    admin: Arc<Admin>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was closed in time.
    Clean,
    /// Some sockets or handlers were not done when the grace time was over.
    GraceOver,
}

impl App {
    /// Takes the address and loads the plugins. Nothing is served yet.
    ///
    /// # Errors
    /// The address cannot be had, the plugins folder cannot be read, or the sandbox cannot be set up. A plugin that
    /// cannot be served is no error; see [`App::catalog`].
    pub async fn new(config: Config) -> Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let backplane: Arc<dyn Backplane> = Arc::new(Local);
        let ulak = Arc::new(Ulak::new(backplane.clone(), config.ulak.all_tenants));
        let compiler = Compiler::in_child(&config.limits);
        let shared = Shared::new(&config, compiler, backplane, ulak.clone())?;
        let settle = config.timeouts.settle();
        let catalog = Catalog::open(shared, &config.plugins, &config.state, settle).await?;
        let (admin, commands) = Admin::new();
        let node = NodeId::random().context("the operating system has no randomness to give")?;
        let serving = Serving {
            server: Arc::new(Server::new(node, &config, Router::default())),
            ulak,
            services: BTreeMap::new(),
            ending: JoinSet::new(),
            admin,
        };
        serving.set_router(Router::new(catalog.loaded()));
        serving.admin.set_plugins(catalog.list());
        Ok(Self {
            config,
            catalog,
            serving,
            commands,
            listener,
        })
    }

    /// The plugins of the folder.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What is served where.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.serving.server.router()
    }

    /// The address it holds.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Starts the services, serves until `stop` is ready, then closes what is open and stops the services.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Ended {
        let Self {
            config,
            mut catalog,
            mut serving,
            mut commands,
            listener,
        } = self;
        let server = serving.server.clone();
        let serving_admin = serving.admin.clone();
        // Nothing is ever sent: the channel closes when nobody is busy any more.
        let (busy, mut idle) = mpsc::channel(1);
        let (stopping, stopped) = watch::channel(false);
        tokio::spawn(async move {
            stop.await;
            stopping.send_replace(true);
        });
        let stop = async |mut stopped: watch::Receiver<bool>| {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        tokio::select! {
            biased;
            () = stop(stopped.clone()) => drop((listener, busy)),
            () = serving.start_services(catalog.loaded()) => {
                // In a task of its own, so that nothing about plugins holds up a connection.
                let accept = net::accept(server.clone(), listener, busy, stop(stopped));
                tokio::select! {
                    // A panic in it has been reported; without it there is nothing to serve.
                    _ = tokio::spawn(accept) => {}
                    never = look_after(&mut catalog, &mut serving, &mut commands) => match never {},
                    never = listen_to_operator(serving_admin, config.admin_socket()) => match never {},
                }
            }
        }
        tracing::info!("stopping");
        // Sockets of plugins in quarantine are to be closed too.
        for loaded in catalog.loaded() {
            loaded.plugin.lift_quarantine();
        }
        let grace = config.timeouts.grace();
        let end = Instant::now() + grace;
        for service in serving.services.values() {
            service.end();
        }
        let kept = match serving.services.is_empty() && serving.ending.is_empty() {
            true => Duration::ZERO,
            false => grace / FOR_SERVICES,
        };
        let drained = timeout(grace - kept, drain(&server, &mut idle)).await;
        let mut stops = serving.ending;
        for service in serving.services.into_values() {
            stops.spawn(service.stop());
        }
        let stopped = timeout_at(end, stops.join_all()).await;
        if drained.is_ok() && stopped.is_ok() {
            return Ended::Clean;
        }
        tracing::warn!(
            "not everything was done within {} ms (timeouts.grace-ms)",
            config.timeouts.grace_ms
        );
        Ended::GraceOver
    }
}

impl Serving {
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
    async fn start_services(&mut self, plugins: &[Arc<Loaded>]) {
        let mut starting = Vec::new();
        for loaded in plugins {
            if let Some(descriptor) = &loaded.service {
                let key = loaded.plugin.id().key();
                let service = Service::start(loaded.plugin.clone(), descriptor);
                // At once: a server that stops meanwhile stops them too.
                self.services.insert(key.clone(), service);
                starting.push(key);
            }
        }
        for key in starting {
            if let Some(service) = self.services.get_mut(&key) {
                service.started().await;
            }
        }
    }

    /// Has the plugins of the catalog served, and tells the log which paths that adds.
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
        for route in router.controllers() {
            let mount = &route.controller.mount;
            let known = before.controllers();
            if !known.iter().any(|old| old.controller.mount == *mount) {
                tracing::info!("serving {mount}/ from {}", route.controller.source());
            }
        }
        self.admin.set_plugins(catalog.list());
    }

    /// Makes a change take effect.
    async fn apply(&mut self, catalog: &mut Catalog, change: Change) {
        match change {
            Change::Added(new, content) => {
                tracing::info!("loaded {}", new.plugin.id());
                catalog.took_effect(Change::Added(new.clone(), content));
                self.serve(catalog);
                self.start_services(&[new]).await;
            }
            Change::Replaced { old, new, content } => {
                _ = self.replace(catalog, old, new, content).await;
            }
            Change::Removed(old) => {
                tracing::info!("{} is served no more", old.plugin.id());
                catalog.took_effect(Change::Removed(old.clone()));
                self.serve(catalog);
                // What it still has to do, it does also when it has failed too often before.
                old.plugin.lift_quarantine();
                if let Some(service) = self.services.remove(&old.plugin.id().key()) {
                    self.ending.spawn(service.stop());
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
        if let Some(service) = self.services.remove(&key) {
            service.hand_over().await;
        }
        let replaced = hub::in_turns(plugin.replace(new.generation.clone())).await;
        let serving = match &replaced {
            Ok(()) => &new,
            Err(_) => &old,
        };
        if let Some(descriptor) = &serving.service {
            let service = Service::go_on(plugin.clone(), descriptor);
            self.services.insert(key, service);
        }
        let change = Change::Replaced {
            old: old.clone(),
            new: new.clone(),
            content,
        };
        let outcome = match replaced {
            Ok(()) => {
                tracing::info!("replaced {id}: generation {}", new.generation.number);
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
            service.stop().await;
        }
        tracing::info!(
            "replaced {}: generation {}, which serves another path",
            new.plugin.id(),
            new.generation.number
        );
        catalog.took_effect(Change::Replaced {
            old: old.clone(),
            new: new.clone(),
            content,
        });
        self.serve(catalog);
        self.start_services(&[new]).await;
        self.end(&old, "The plugin was replaced").await;
        Ok(())
    }

    /// Closes the sockets of a plugin that does not serve them any more.
    async fn end(&self, plugin: &Loaded, reason: &str) {
        if let Some(namespace) = &plugin.namespace {
            let sockets = namespace.sockets.end(CloseCode::GoingAway, reason);
            close(&sockets, reason).await;
        }
    }

    /// Does what the operator wants.
    async fn obey(&mut self, catalog: &mut Catalog, order: &Order) -> Result<(), String> {
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
        self.admin.set_plugins(catalog.list());
        Ok(())
    }
}

/// Takes in what happens to the files of the folder, and what the operator wants.
async fn look_after(
    catalog: &mut Catalog,
    serving: &mut Serving,
    commands: &mut mpsc::Receiver<Command>,
) -> Infallible {
    loop {
        tokio::select! {
            change = catalog.next() => {
                if let Some(change) = change {
                    serving.apply(catalog, change).await;
                }
            }
            Some(Command { order, done }) = commands.recv() => {
                tracing::info!("the operator: {:?} {}", order.action, order.plugin);
                let outcome = serving.obey(catalog, &order).await;
                // Who asked may have left.
                let _ = done.send(outcome);
            }
        }
        serving.admin.set_plugins(catalog.list());
    }
}

/// Closes all sockets, and waits until the last connection has ended.
async fn drain(server: &Server, idle: &mut mpsc::Receiver<Infallible>) {
    // A handshake that was under way may still bring a socket; each round closes those that have come.
    let mut rounds = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = idle.recv() => return,
            _ = rounds.tick() => close_all(server).await,
        }
    }
}

async fn close_all(server: &Server) {
    for route in server.router().routes() {
        close(&route.namespace.sockets().sockets(), "Server is stopping").await;
    }
}

/// Closes sockets once their handlers are done with the message in hand, some at a time.
async fn close(sockets: &[Arc<Socket>], reason: &str) {
    for batch in sockets.chunks(CLOSE_BATCH) {
        for socket in batch {
            socket.close_between_messages(CloseCode::GoingAway, reason);
        }
        tokio::task::yield_now().await;
    }
}

/// Listens to the operator, when there is where to.
async fn listen_to_operator(admin: Arc<Admin>, socket: Option<&Path>) -> Infallible {
    if let Some(socket) = socket {
        match admin::bind(socket).await {
            Ok(listener) => admin::serve(admin, listener).await,
            Err(error) => tracing::warn!(
                "`tulpar plugins` does not reach this server: {}: {error}",
                socket.display()
            ),
        }
    }
    std::future::pending().await
}
