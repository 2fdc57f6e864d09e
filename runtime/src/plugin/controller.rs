//! Calls of a controller: each request has an instance of its own.

use std::pin::pin;

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView};

use super::instance::{Instance, finished};
use super::sandbox::Deadline;
use super::tally::Call;
use super::{CallError, Plugin};
use crate::transport::Encrypted;

/// Where a controller's response arrives, before its body is complete: a response, or the error that it gave instead.
pub type ResponseSender = oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>;

impl Plugin {
    /// Has the controller answer a request, and waits until it has done everything that it wants to. `failed` is called
    /// while the body is still open when the call fails, so that a body that is cut off is not taken for one that ends.
    ///
    /// The request names its host, in its URI or its header.
    ///
    /// # Errors
    /// The controller trapped or took too long.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        response: ResponseSender,
        failed: impl FnOnce(),
    ) -> Result<(), CallError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error>,
    {
        let deadline = Deadline::of_request(&self.settings().limits);
        let mut instance = Box::new(Instance::new(self, &self.generation(), deadline).await?);
        instance.arm();
        let Instance {
            store,
            clock,
            guest,
        } = &mut *instance;
        let Some(controller) = &guest.incoming else {
            return Err(CallError::NotExported("wasi:http/incoming-handler"));
        };
        let scheme = match request.extensions().get::<Encrypted>() {
            Some(Encrypted) => Scheme::Https,
            None => Scheme::Http,
        };
        let handed = |error| CallError::Trap(std::sync::Arc::new(error));
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(scheme, request).map_err(handed)?;
        let response = http.new_response_outparam(response).map_err(handed)?;
        let call = pin!(controller.call_handle(store, request, response));
        let outcome = finished(clock.run(Call::Answer, call).await);
        if outcome.is_err() {
            failed();
        }
        outcome
    }
}
