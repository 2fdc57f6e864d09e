//! From a TCP connection to an upgraded one: accepting, HTTP, routes, the handshake; or to a controller.

mod dispatch;
mod handshake;
mod listener;
mod page;
mod respond;
pub mod router;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use self::listener::accept;
use self::router::Router;
use crate::config::{Config, Timeouts};
use crate::connection::Keepalive;
use crate::ids::NodeId;

/// Held by everything that has to end before the server has. When the last one is dropped, the receiver of its channel
/// hears of it.
pub type Busy = mpsc::Sender<std::convert::Infallible>;

/// What every request is answered with.
pub struct Server {
    node: NodeId,
    router: ArcSwap<Router>,
    request_head_bytes: usize,
    timeouts: Timeouts,
    keepalive: Arc<Keepalive>,
    dev: bool,
}

impl Server {
    /// A server that answers by the routes in `router`.
    #[must_use]
    pub fn new(node: NodeId, config: &Config, router: Router) -> Self {
        Self {
            node,
            router: ArcSwap::from_pointee(router),
            request_head_bytes: config.limits.request_head_bytes,
            timeouts: config.timeouts.clone(),
            keepalive: Keepalive::new(&config.timeouts),
            dev: config.dev,
        }
    }

    /// The routes as they are now.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.router.load_full()
    }

    /// Answers by other routes from now on. Open sockets stay.
    pub fn set_router(&self, router: Router) {
        self.router.store(Arc::new(router));
    }
}
