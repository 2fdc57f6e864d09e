//! Refuses upgrades of an address that asks for too many. Behind a proxy every client has the proxy's address.

mod windows;

use std::time::Instant;

use tulpar::prelude::*;
use windows::Windows;

#[derive(Default)]
struct WsRateLimit {
    windows: Windows,
}

#[tulpar::middleware(name = "ws-rate-limit")]
impl Middleware for WsRateLimit {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        let admitted = self.windows.admit(cx.remote_address(), Instant::now());
        let Err(wait) = admitted else {
            return Ok(Verdict::Next);
        };
        let seconds = wait.as_millis().div_ceil(1000);
        Ok(
            Response::json(429, &json!({ "error": "Too Many Requests" }))
                .header("Retry-After", seconds.to_string())
                .into(),
        )
    }
}
