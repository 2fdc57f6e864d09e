//! The chain of middlewares that a request passes before it becomes a socket.

use std::sync::Arc;

use crate::plugin::host::RequestContext;
use crate::plugin::tally::Decision;
use crate::plugin::{Plugin, Verdict};

/// A middleware failed. What it said is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiddlewareFailed;

/// Runs the middlewares in their order over one request, until one responds. The verdict is that one's, or to go on
/// when there is none; the request comes back with what they attached.
///
/// Not cancel-safe: run it where nobody drops it, or a client that hangs up costs a middleware its memory.
///
/// # Errors
/// A middleware failed; nothing behind it has run.
pub async fn run(
    chain: &[Arc<Plugin>],
    mut request: Box<RequestContext>,
) -> Result<(Verdict, Box<RequestContext>), MiddlewareFailed> {
    for middleware in chain {
        let decided = middleware.decide(request).await;
        let (verdict, returned) = decided.map_err(|error| {
            middleware.tally().count_decision(Decision::Failed);
            let failures = middleware.report(&error);
            if middleware.may_log() {
                tracing::warn!(failures, plugin = %middleware.id(), "middleware: {error}");
            }
            MiddlewareFailed
        })?;
        request = returned;
        if let Verdict::Respond { .. } = verdict {
            middleware.tally().count_decision(Decision::Respond);
            return Ok((verdict, request));
        }
        middleware.tally().count_decision(Decision::Next);
    }
    Ok((Verdict::Next, request))
}
