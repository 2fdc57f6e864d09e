//! Calls of a middleware: what it decides about a request.

use std::pin::pin;

use bytes::Bytes;
use hyper::http::{HeaderMap, StatusCode};
use wasmtime::component::Resource;

use super::bindings::exports::tulpar::plugin::middleware_handler;
use super::bindings::tulpar::plugin::types;
use super::host::{ContextHandle, RequestContext, ResponseHeaders};
use super::instance::{Entry, Guest, Instance, Quarantines};
use super::tally::Call;
use super::{CallError, Plugin};
use crate::quota::{Account, Held, Hold};

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
        body: Bytes,
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
        let mut entry =
            Entry::new(self, &self.events, self.event_deadline(), Quarantines::All).await?;
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
        Ok((check(verdict, &self.account)?, request))
    }
}

/// Makes a response of what a middleware says is one.
fn check(verdict: middleware_handler::Verdict, account: &Account) -> Result<Verdict, CallError> {
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
    let mut headers = ResponseHeaders::default();
    for types::Header { name, value } in response.headers {
        headers.add(&name, &value).map_err(CallError::Answer)?;
    }
    let waits = account.hold(Held::Queued, response.body.len() as u64);
    let waits = waits.ok_or(CallError::Quota("bytes waiting (quotas.queued-bytes)"))?;
    Ok(Verdict::Respond {
        status,
        headers: headers.into(),
        body: Bytes::from_owner(Body {
            bytes: response.body,
            _waits: waits,
        }),
    })
}

/// The body of a response, which counts as what waits for clients until it is dropped.
struct Body {
    bytes: Vec<u8>,
    _waits: Hold,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
