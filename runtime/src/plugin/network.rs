//! What carries the plugins' requests to other hosts.

mod internet;
mod lookups;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
pub use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

pub use self::internet::Internet;

/// Carries requests to other hosts.
pub trait Network: Send + Sync {
    /// Sends a request to a host that its plugin may reach. What goes on when the future has been dropped holds `permit`
    /// until it ends.
    fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        permit: Permit,
    ) -> Sending;
}

/// A request counts as under way (`limits.outgoing-requests`) for as long as somebody has its permit.
#[derive(Clone)]
pub struct Permit {
    /// That it is one of its plugin's.
    pub request: Arc<OwnedSemaphorePermit>,
    /// How many more names its tenant may have looked up at once.
    pub lookups: Arc<Semaphore>,
}

/// A request under way, until its response begins.
pub type Sending = Pin<Box<dyn Future<Output = Result<(Response<WasiBody>, Rest), Error>> + Send>>;

/// What is still to be done for a request when its response has begun.
pub type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;
