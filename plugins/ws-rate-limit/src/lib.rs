//! Refuses upgrades of an address that asks for too many. Behind a proxy that the server does not trust every client has the
//! proxy's address.

mod windows;

use std::net::Ipv6Addr;
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
        let client = network(cx.remote_address());
        let admitted = self.windows.admit(client, Instant::now());
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

/// The addresses that count as one: an IPv4 address, or all IPv6 addresses with the same first 64 bits. One client has at
/// least so many of the latter, and could take another for each upgrade.
fn network(address: String) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
        Err(_) => address,
    }
}
