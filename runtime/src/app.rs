//! The composition root: from a configuration to a server that runs, and to its end.

mod joined;
mod serving;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout_at};

use self::serving::{Serving, close};
use crate::admin::{self, About, Admin, Command, Door};
use crate::backplane::{Backplane, NatsBackplane};
use crate::config::{Config, Listen, Live, Schedules};
use crate::hub::{CloseCode, Socket};
use crate::ids::NodeId;
use crate::nats::Nats;
use crate::net::router::Router;
use crate::net::{self, Server};
use crate::plugin::catalog::Catalog;
use crate::plugin::describe::Loaded;
use crate::plugin::host::one_line;
use crate::plugin::{Shared, Surroundings};
use crate::service::Leases;
use crate::transport::{Listener, Tls};
use crate::ulak::Ulak;

/// The part of the grace time that is kept for services, when there are some: a quarter.
const FOR_SERVICES: u32 = 4;

/// How many tasks a thread polls before it asks the network again, when it never runs out of them: as many as it can
/// hear of at once, so that each has had its turn. Asked sooner, a busy thread keeps serving those that answer quickly
/// and forgets the others. Guests that compute do not count, see [`crate::plugin`].
const ROUND: u32 = 1024;

/// How often sockets are closed while the server stops.
const ROUND_OF_DRAIN: Duration = Duration::from_millis(50);
/// Why they are.
const STOPPING: &str = "Server is stopping";

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
    config: Live,
    catalog: Catalog,
    serving: Serving,
    commands: mpsc::Receiver<Command>,
    reload: mpsc::Sender<Config>,
    reloads: mpsc::Receiver<Config>,
    listener: Listener,
    page: Option<admin::Address>,
    backplane: Arc<dyn Backplane>,
    nats: Option<Nats>,
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
    /// Takes the addresses and loads the plugins. Nothing is served yet.
    ///
    /// # Errors
    /// An address cannot be had, the plugins folder cannot be read, or the sandbox cannot be set up. A plugin that
    /// cannot be served is no error; see [`App::catalog`].
    pub async fn new(config: Config) -> Result<Self> {
        let surroundings = Surroundings::of_this_machine(&config.limits);
        Self::amid(config, surroundings).await
    }

    /// The same with other surroundings of its plugins than this machine's.
    ///
    /// # Errors
    /// See [`App::new`].
    pub async fn amid(config: Config, surroundings: Surroundings) -> Result<Self> {
        let started = std::time::Instant::now();
        let mut surroundings = surroundings;
        let node = NodeId::random().context("the operating system has no randomness to give")?;
        let all_tenants = config.ulak.all_tenants;
        let config = Live::from(&config);
        let listener = Listener::bind(&config).await?;
        let given = config.load_full();
        let page = admin::Address::bind(&given).await;
        let page = page.with_context(|| match given.admin.listen {
            Some(address) => format!("cannot listen on {address} (admin.listen)"),
            None => "cannot listen for the live page".to_owned(),
        })?;
        if given.backplane.is_joined() {
            let nats = Nats::connect(&given.backplane).await?;
            surroundings.backplane = Arc::new(NatsBackplane::join(node, &nats, &config));
            surroundings.nats = Some(nats);
        }
        let (backplane, nats) = (surroundings.backplane.clone(), surroundings.nats.clone());
        let ulak = Arc::new(Ulak::new(backplane.clone(), all_tenants));
        let shared = Shared::new(&config, surroundings, ulak.clone())?;
        let catalog = Catalog::open(shared).await?;
        let server = Arc::new(Server::new(node, &config, Router::default()));
        let about = About {
            node,
            address: place(&listener.address()?, listener.tls().is_some()),
            started,
        };
        let (admin, commands) =
            Admin::new(about, &config, server.metrics().clone(), backplane.clone());
        let leases = match (&nats, given.backplane.schedules) {
            (Some(nats), Schedules::Once) => Leases::once(node, nats, &given.backplane),
            _ => Leases::on_each_node(),
        };
        let serving = Serving::new(server, ulak, admin, leases, &catalog);
        // One that waits is as good as two: the last counts.
        let (reload, reloads) = mpsc::channel(1);
        Ok(Self {
            config,
            catalog,
            serving,
            commands,
            reload,
            reloads,
            listener,
            page,
            backplane,
            nats,
        })
    }

    /// Where another configuration is handed in, which then holds as far as it can while the server runs. The log says what
    /// has become of it.
    #[must_use]
    pub fn reload(&self) -> mpsc::Sender<Config> {
        self.reload.clone()
    }

    /// The plugins of the folder.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What knows of the plugins, also when they have changed.
    #[must_use]
    pub fn admin(&self) -> &Arc<Admin> {
        &self.serving.admin
    }

    /// What answers requests, also by other routes.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.serving.server
    }

    /// What is served where.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.serving.server.router()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn address(&self) -> Result<Listen> {
        Ok(self.listener.address()?)
    }

    /// The same as clients write it: `http://ADDRESS`, `https://ADDRESS` or `unix:PATH`.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn place(&self) -> Result<String> {
        Ok(place(&self.address()?, self.listener.tls().is_some()))
    }

    /// Where the live page is; none when there is none.
    #[must_use]
    pub fn page(&self) -> Option<SocketAddr> {
        self.page.as_ref()?.local().ok()
    }

    /// Starts the services, serves until `stop` is ready, then closes what is open and stops the services.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Ended {
        let Self {
            config,
            mut catalog,
            mut serving,
            mut commands,
            reload: _reload,
            mut reloads,
            listener,
            page,
            backplane,
            nats,
        } = self;
        let server = serving.server.clone();
        let tls = listener.tls().cloned();
        let live_admin = serving.admin.clone();
        // Nothing is ever sent: the channel closes when nobody is busy any more.
        let (busy, mut idle) = mpsc::channel(1);
        let (stopping, stopped) = watch::channel(None);
        let (ready, live) = (serving.admin.clone(), config.clone());
        tokio::spawn(async move {
            stop.await;
            let asked = Instant::now();
            ready.set_stopping();
            let unready = live.load().timeouts.unready();
            sleep(unready).await;
            stopping.send_replace(Some(asked));
        });
        let stop = async |mut stopped: watch::Receiver<Option<Instant>>| {
            let _ = stopped.wait_for(Option::is_some).await;
        };
        // They are open until all is done, so that whoever watches sees that the server is alive.
        let mut doors = JoinSet::new();
        let socket = config.load().admin.unix().map(PathBuf::from);
        doors.spawn(listen_to_operator(serving.admin.clone(), socket));
        doors.spawn(show_page(serving.admin.clone(), page));
        tokio::select! {
            biased;
            () = stop(stopped.clone()) => drop((listener, busy)),
            () = serving.start_services(catalog.loaded()) => {
                live_admin.set_started();
                // In a task of its own, so that nothing about plugins holds up a connection.
                let accept = net::accept(server.clone(), listener, busy, stop(stopped.clone()));
                let accept = tokio::spawn(accept);
                // A panic in it has been reported; without it there is nothing to serve.
                let broken = async {
                    if accept.await.is_ok() {
                        std::future::pending::<()>().await;
                    }
                };
                // A change in hand is brought to its end, if that does not take all of the grace time.
                let too_late = async {
                    stop(stopped.clone()).await;
                    let grace = config.load().timeouts.grace();
                    sleep(grace / FOR_SERVICES).await;
                };
                let wishes = Wishes {
                    config: &config,
                    commands: &mut commands,
                    reloads: &mut reloads,
                };
                tokio::select! {
                    () = broken => {}
                    () = too_late => {}
                    () = look_after(&mut catalog, &mut serving, wishes, stop(stopped.clone())) => {}
                    never = renew_certificate(tls) => match never {},
                    never = joined::look_after(nats, &config, &live_admin) => match never {},
                }
            }
        }
        tracing::info!("stopping");
        // Whoever has an order for a plugin hears so.
        drop(commands);
        // Sockets of plugins in quarantine are to be closed too.
        for loaded in catalog.loaded() {
            loaded.plugin.lift_quarantine();
        }
        let timeouts = config.load().timeouts.clone();
        let grace = timeouts.grace();
        let end = stopped.borrow().unwrap_or_else(Instant::now) + grace;
        for service in serving.services.values() {
            service.end();
        }
        let kept = match serving.services.is_empty() && serving.ending.is_empty() {
            true => Duration::ZERO,
            false => grace / FOR_SERVICES,
        };
        let over = timeouts.drain();
        let drained = timeout_at(end - kept, drain(&catalog, &mut idle, over)).await;
        let mut stops: JoinSet<()> = JoinSet::new();
        for ending in serving.ending.into_values() {
            stops.spawn(async { _ = ending.await });
        }
        for service in serving.services.into_values() {
            stops.spawn(service.stop());
        }
        let stopped = timeout_at(end, stops.join_all()).await;
        backplane.leave().await;
        doors.shutdown().await;
        if drained.is_ok() && stopped.is_ok() {
            return Ended::Clean;
        }
        tracing::warn!(
            "not everything was done within {} ms (timeouts.grace-ms)",
            timeouts.grace_ms
        );
        Ended::GraceOver
    }
}

/// What the operator wants.
struct Wishes<'a> {
    config: &'a Live,
    commands: &'a mut mpsc::Receiver<Command>,
    reloads: &'a mut mpsc::Receiver<Config>,
}

/// Takes in what happens to the files of the folder, and what the operator wants, until it is to stop.
async fn look_after(
    catalog: &mut Catalog,
    serving: &mut Serving,
    wishes: Wishes<'_>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return,
            change = catalog.next() => {
                if let Some(change) = change {
                    serving.apply(catalog, change).await;
                }
            }
            Some(new) = wishes.reloads.recv() => serving.reload(catalog, wishes.config, new).await,
            Some(Command { order, done }) = wishes.commands.recv() => {
                let plugin = one_line(&order.plugin);
                tracing::info!(plugin, "the operator: {:?} {plugin}", order.action);
                let outcome = serving.obey(catalog, &order).await;
                // Who asked may have left.
                let _ = done.send(outcome);
            }
        }
        serving.tell(catalog);
    }
}

/// Closes all sockets, in batches over so much time, and waits until the last connection has ended.
async fn drain(catalog: &Catalog, idle: &mut mpsc::Receiver<Infallible>, over: Duration) {
    tokio::select! {
        _ = idle.recv() => return,
        () = close_in_batches(all_sockets(catalog), CloseCode::GoingAway, STOPPING, over) => {}
    }
    // A handshake that was under way may still bring a socket; each round closes those that have come.
    let mut rounds = interval(ROUND_OF_DRAIN);
    loop {
        tokio::select! {
            _ = idle.recv() => return,
            _ = rounds.tick() => close(&all_sockets(catalog), CloseCode::GoingAway, STOPPING).await,
        }
    }
}

/// Closes a batch in each round, so that their clients do not all come to other servers in the same moment.
async fn close_in_batches(
    sockets: Vec<Arc<Socket>>,
    code: CloseCode,
    reason: &str,
    over: Duration,
) {
    let rounds = (over.as_millis() / ROUND_OF_DRAIN.as_millis()).max(1);
    let rounds = usize::try_from(rounds).unwrap_or(usize::MAX);
    let mut timer = interval(ROUND_OF_DRAIN);
    for batch in sockets.chunks(sockets.len().div_ceil(rounds).max(1)) {
        timer.tick().await;
        close(batch, code, reason).await;
    }
}

/// Not by the routes: what lost a middleware has none, and may have sockets.
fn all_sockets(catalog: &Catalog) -> Vec<Arc<Socket>> {
    sockets_of(catalog.loaded())
}

fn sockets_of(plugins: &[Arc<Loaded>]) -> Vec<Arc<Socket>> {
    let namespaces = plugins
        .iter()
        .filter_map(|loaded| loaded.namespace.as_ref());
    namespaces.flat_map(|it| it.sockets.sockets()).collect()
}

/// Listens to the operator on the Unix socket, when there is to be one.
async fn listen_to_operator(admin: Arc<Admin>, socket: Option<PathBuf>) -> Infallible {
    if let Some(socket) = socket {
        match Door::unix(&socket).await {
            Ok(door) => match admin::serve(admin, door).await {},
            Err(error) => tracing::warn!(
                "`tulpar plugins` does not reach this server: {}: {error}",
                socket.display()
            ),
        }
    }
    std::future::pending().await
}

/// The same on an address, with the live page.
async fn show_page(admin: Arc<Admin>, page: Option<admin::Address>) -> Infallible {
    match page {
        Some(address) => admin::serve(admin, Door::Tcp(address)).await,
        None => std::future::pending().await,
    }
}

/// Where clients find the server.
fn place(address: &Listen, encrypted: bool) -> String {
    match address {
        Listen::Tcp(address) if encrypted => format!("https://{address}"),
        Listen::Tcp(address) => format!("http://{address}"),
        socket @ Listen::Unix(_) => socket.to_string(),
    }
}

/// Takes in what happens to the certificate, when there is one.
async fn renew_certificate(tls: Option<Arc<Tls>>) -> Infallible {
    match tls {
        Some(tls) => tls.renew().await,
        None => std::future::pending().await,
    }
}
