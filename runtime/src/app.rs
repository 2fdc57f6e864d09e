//! The composition root: from a configuration to a server that runs, and to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout, timeout_at};

use crate::backplane::{Backplane, Local};
use crate::config::Config;
use crate::hub::CloseCode;
use crate::ids::NodeId;
use crate::net::router::Router;
use crate::net::{self, Server};
use crate::plugin::Shared;
use crate::plugin::catalog::Catalog;
use crate::plugin::describe::Loaded;
use crate::service::Service;
use crate::ulak::{Served, Ulak};

/// How often the plugins folder is looked at for new files. A file is loaded at the second look that finds it the
/// same.
const LOOK: Duration = Duration::from_millis(500);
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
    listener: TcpListener,
}

/// What is served, and who has to hear when that changes.
struct Serving {
    server: Arc<Server>,
    ulak: Arc<Ulak>,
    services: Vec<Service>,
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
        let shared = Shared::new(&config, backplane, ulak.clone())?;
        let catalog = Catalog::open(shared, &config.plugins).await?;
        let node = NodeId::random().context("the operating system has no randomness to give")?;
        let serving = Serving {
            server: Arc::new(Server::new(node, &config, Router::default())),
            ulak,
            services: Vec::new(),
        };
        serving.set_router(Router::new(catalog.loaded()));
        Ok(Self {
            config,
            catalog,
            serving,
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
            listener,
        } = self;
        let server = serving.server.clone();
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
                    never = look_after(&mut catalog, &mut serving) => match never {},
                }
            }
        }
        tracing::info!("stopping");
        let grace = config.timeouts.grace();
        let end = Instant::now() + grace;
        for service in &serving.services {
            service.end();
        }
        let kept = match serving.services.is_empty() {
            true => Duration::ZERO,
            false => grace / FOR_SERVICES,
        };
        let drained = timeout(grace - kept, drain(&server, &mut idle)).await;
        let stops: JoinSet<()> = serving.services.into_iter().map(Service::stop).collect();
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
        let before = self.services.len();
        for loaded in plugins {
            if let Some(descriptor) = &loaded.service {
                let service = Service::start(loaded.plugin.clone(), descriptor);
                self.services.push(service);
            }
        }
        for service in &mut self.services[before..] {
            service.started().await;
        }
    }

    /// Takes in the plugins that have been loaded, the last `new` of them.
    async fn take_in(&mut self, plugins: &[Arc<Loaded>], new: usize) {
        let before = self.server.router();
        self.set_router(Router::new(plugins));
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
        self.start_services(&plugins[plugins.len() - new..]).await;
    }
}

/// Takes in the plugins that are dropped into the folder.
async fn look_after(catalog: &mut Catalog, serving: &mut Serving) -> Infallible {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let changes = catalog.look_again().await;
        for file in &changes.stale {
            tracing::warn!(
                "{} has changed or gone; what was loaded of it serves until a restart",
                file.display()
            );
        }
        for (file, refusal) in catalog
            .refused()
            .filter(|(file, _)| changes.refused.iter().any(|f| f == file))
        {
            tracing::warn!("refused {}: {refusal}", file.display());
        }
        for file in &changes.loaded {
            tracing::info!("loaded {}", file.display());
        }
        if !changes.loaded.is_empty() {
            serving
                .take_in(catalog.loaded(), changes.loaded.len())
                .await;
        }
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
        for batch in route.namespace.sockets().sockets().chunks(CLOSE_BATCH) {
            for socket in batch {
                socket.close_between_messages(CloseCode::GoingAway, "Server is stopping");
            }
            tokio::task::yield_now().await;
        }
    }
}
