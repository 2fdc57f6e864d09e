//! Calls of a middleware: what it decides about a request.

use std::pin::pin;

use hyper::http::{HeaderMap, StatusCode};
use wasmtime::component::Resource;

use super::bindings::exports::tulpar::plugin::middleware_handler;
use super::bindings::tulpar::plugin::types;
use super::host::{self, ContextHandle, RequestContext};
use super::instance::{Entry, Guest, Instance};
use super::tally::Call;
use super::{CallError, Plugin};

/// The largest body of a middleware's response, in bytes.
const MAX_RESPONSE_BODY: usize = 1 << 20;

/// What a middleware decides about a request.
#[derive(Debug)]
pub enum Verdict {
    /// On to the next one.
    Next,
    /// Send this, and nothing behind it runs.
    Respond {
        /// 200 to 599.
        status: StatusCode,
        /// None of the host's own.
        headers: HeaderMap,
        /// The body.
        body: Vec<u8>,
    },
}

impl Plugin {
    /// Has the middleware decide about a request. Returns the request with what it attached.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The middleware returned an error or an unusable response, trapped or took too long; the request is lost.
    pub async fn decide(
        &self,
        request: Box<RequestContext>,
    ) -> Result<(Verdict, Box<RequestContext>), CallError> {
        let mut entry = Entry::new(self, &self.events, self.event_deadline()).await?;
        let Instance {
            store,
            clock,
            guest: Guest {
                middleware: Some(guest),
                ..
            },
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("middleware-handler"));
        };
        store.data_mut().request = Some(request);
        let context = Resource::<ContextHandle>::new_borrow(0);
        let outcome = clock
            .run(Call::Decide, pin!(guest.call_handle(&mut *store, context)))
            .await;
        let request = store.data_mut().request.take();
        let verdict = entry.leave(outcome)?.map_err(CallError::handler)?;
        let request = request.ok_or(CallError::NotExported("the request's context"))?;
        Ok((check(verdict)?, request))
    }
}

/// Makes a response of what a middleware says is one.
fn check(verdict: middleware_handler::Verdict) -> Result<Verdict, CallError> {
    let response = match verdict {
        middleware_handler::Verdict::Next => return Ok(Verdict::Next),
        middleware_handler::Verdict::Respond(response) => response,
    };
    let status = StatusCode::from_u16(response.status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| {
            CallError::Answer(format!("{} is no status from 200 to 599", response.status))
        })?;
    if response.body.len() > MAX_RESPONSE_BODY {
        return Err(CallError::Answer(format!(
            "the body is over {MAX_RESPONSE_BODY} bytes"
        )));
    }
    let mut headers = HeaderMap::new();
    for types::Header { name, value } in response.headers {
        let (name, value) = host::response_header(&name, &value).map_err(CallError::Answer)?;
        headers
            .try_append(name, value)
            .map_err(|_| CallError::Answer("there are too many headers".into()))?;
    }
    Ok(Verdict::Respond {
        status,
        headers,
        body: response.body,
    })
}
