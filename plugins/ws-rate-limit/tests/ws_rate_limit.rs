//! How many upgrades an address has, and when it has more. A middleware needs something behind it: here the plugin `admin`
//! with its other middlewares.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tulpar_test::{Request, Server};

fn server() -> Server {
    Server::builder()
        .this_crate()
        .crate_in("../admin")
        .crate_in("../ws-auth")
        .crate_in("../ws-logging")
        .start()
}

/// How an upgrade from that address is answered, and for how many seconds it is to wait.
fn ask(server: &Server, address: impl Into<IpAddr>) -> Result<(), (u16, u64)> {
    let request = Request::get("/admin?token=valid-token").from_address(address);
    let asked = server.connect(request).map(drop);
    asked.map_err(|refused| {
        let wait = refused.header("retry-after").and_then(|it| it.parse().ok());
        (refused.status(), wait.unwrap_or_default())
    })
}

#[test]
fn an_address_has_twenty_upgrades_in_ten_seconds() {
    let server = server();
    let ada = [192, 0, 2, 1];
    for _ in 0..20 {
        assert_eq!(ask(&server, ada), Ok(()));
    }
    assert_eq!(ask(&server, ada), Err((429, 10)));
    assert_eq!(ask(&server, [192, 0, 2, 2]), Ok(()));

    server.advance(Duration::from_millis(9_500));
    assert_eq!(ask(&server, ada), Err((429, 1)));
    server.advance(Duration::from_millis(500));
    assert_eq!(ask(&server, ada), Ok(()));
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let server = server();
    let address = |network: u16, last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, last);
    for last in 1..=20 {
        assert_eq!(ask(&server, address(0, last)), Ok(()));
    }
    assert_eq!(ask(&server, address(0, 21)), Err((429, 10)));
    assert_eq!(ask(&server, address(1, 1)), Ok(()));
}
