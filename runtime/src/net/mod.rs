//! From a TCP connection to an upgraded one: accepting, HTTP, routes, the handshake; or to a controller.

mod admission;
mod dispatch;
mod forwarded;
mod handshake;
mod listener;
mod origin;
mod page;
mod respond;
pub mod router;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use self::admission::{Admission, Counted, Reason, Ticket};
pub use self::listener::accept;
use self::router::Router;
use crate::config::Live;
use crate::connection::Keepalive;
use crate::ids::NodeId;
use crate::metrics::Metrics;

/// Held by everything that has to end before the server has. When the last one is dropped, the receiver of its channel
/// hears of it.
pub type Busy = mpsc::Sender<std::convert::Infallible>;

/// What every request is answered with.
pub struct Server {
    node: NodeId,
    router: ArcSwap<Router>,
    admission: Admission,
    config: Live,
    keepalive: Arc<Keepalive>,
    metrics: Arc<Metrics>,
}

impl Server {
    /// A server that answers by the routes in `router`.
    #[must_use]
    pub fn new(node: NodeId, config: impl Into<Live>, router: Router) -> Self {
        let metrics = Arc::<Metrics>::default();
        let config = config.into();
        Self {
            node,
            router: ArcSwap::from_pointee(router),
            admission: Admission::new(metrics.clone()),
            keepalive: Keepalive::new(&config.load().timeouts),
            config,
            metrics,
        }
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The routes as they are now.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.router.load_full()
    }

    /// The address that a connection from there is counted for; none for a proxy that is trusted, whose connections are
    /// those of many.
    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        (!self.config.load().proxy.trusts(address)).then_some(address)
    }

    /// What a connection gets that has just come from there; none when it is to be closed as it stands.
    fn ticket(&self, peer: IpAddr) -> Option<Ticket> {
        let address = self.counted(peer);
        self.admission.ticket(address, &self.config.load().limits)
    }

    /// Counts one more connection from an address that a proxy has said.
    fn count(&self, address: IpAddr) -> Result<Option<Counted>, Reason> {
        let address = self.counted(address);
        let limits = &self.config.load().limits;
        let counted = address.map(|it| self.admission.count(it, limits));
        counted.transpose()
    }

    /// Answers by other routes from now on. Open sockets stay.
    pub fn set_router(&self, router: Router) {
        self.router.store(Arc::new(router));
    }
}
