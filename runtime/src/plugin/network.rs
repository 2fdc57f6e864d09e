//! What carries the plugins' requests to other hosts.

use std::future::Future;
use std::pin::Pin;

use http_body_util::BodyExt;
use hyper::{Request, Response};
use wasmtime_wasi_http::default_send_request;
pub use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Carries requests to other hosts.
pub trait Network: Send + Sync {
    /// Sends a request to a host that its plugin may reach.
    fn send(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Sending;
}

/// A request under way, until its response begins.
pub type Sending = Pin<Box<dyn Future<Output = Result<(Response<WasiBody>, Rest), Error>> + Send>>;

/// What is still to be done for a request when its response has begun.
pub type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The network that this machine is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Internet;

impl Network for Internet {
    fn send(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Sending {
        Box::pin(async move {
            let (response, rest) = default_send_request(request, options).await?;
            Ok((response.map(BodyExt::boxed_unsync), Box::new(rest) as Rest))
        })
    }
}
