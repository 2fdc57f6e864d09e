//! Logs each request that passes, without its query string: tokens travel there.

use tulpar::prelude::*;

#[derive(Default)]
struct WsLogging;

#[tulpar::middleware(name = "ws-logging")]
impl Middleware for WsLogging {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        log::info(format!(
            "{} {} from {}",
            cx.method(),
            cx.path(),
            cx.remote_address()
        ));
        Ok(Verdict::Next)
    }
}
