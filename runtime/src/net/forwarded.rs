//! Where a client is that comes by way of proxies, from what they say in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};

use crate::config::Proxy;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, of a request that has come from `peer` with these headers.
///
/// Each proxy adds at the end whom it got the request from, and what stands before that, anybody may have written. So it
/// is the last address that is not itself a proxy's that is trusted; when all of them are, it is the first. What is no
/// address ends the search: who has added it knew no better.
pub(super) fn client(proxy: &Proxy, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    if !proxy.trusts(client) {
        return client;
    }
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let members = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for member in members {
        let Some(address) = address(member) else {
            break;
        };
        client = address;
        if !proxy.trusts(client) {
            break;
        }
    }
    client
}

/// An address, behind which some proxies write the port.
fn address(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?.trim();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let bare = text.parse().ok();
    let address: IpAddr = bare.or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    /// What is found with two ranges trusted.
    fn found(peer: &str, headers: &[&[u8]]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        let trusted = trusted.map(|text| text.to_owned().try_into().unwrap());
        let proxy = Proxy {
            trusted: trusted.into(),
            protocol: false,
        };
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
        }
        client(&proxy, peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_clients() {
        for (said, expected) in [
            (&[&b"192.0.2.1"[..]][..], "192.0.2.1"),
            (&[b"203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&[b"203.0.113.9,192.0.2.1,10.0.0.7"], "192.0.2.1"),
            (
                &[b"203.0.113.9", b"192.0.2.1", b"10.0.0.7 , 10.0.0.8"],
                "192.0.2.1",
            ),
            (&[b"10.0.0.9, 10.0.0.8"], "10.0.0.9"),
            (&[b" 192.0.2.1\t"], "192.0.2.1"),
            (&[b"192.0.2.1:4711"], "192.0.2.1"),
            (&[b"2001:db9::1"], "2001:db9::1"),
            (&[b"[2001:db9::1]:4711, 2001:db8::5"], "2001:db9::1"),
            (&[b"::ffff:192.0.2.1"], "192.0.2.1"),
            (&[b"192.0.2.1, ::ffff:10.0.0.7"], "192.0.2.1"),
        ] {
            assert_eq!(found("10.0.0.1", said), expected, "{said:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for (said, expected) in [
            (&[][..], "10.0.0.1"),
            (&[&b""[..]][..], "10.0.0.1"),
            (&[b"unknown"], "10.0.0.1"),
            (&[b"192.0.2.1, unknown"], "10.0.0.1"),
            (&[b"192.0.2.1,"], "10.0.0.1"),
            (&[b"192.0.2.1, x, 10.0.0.7"], "10.0.0.7"),
            (&[b"192.0.2.1 10.0.0.7"], "10.0.0.1"),
            (&[b"192.0.2.1/32"], "10.0.0.1"),
            (&[b"192.0.2.1:99999"], "10.0.0.1"),
            (&[b"192.0.2.1, \xff"], "10.0.0.1"),
        ] {
            assert_eq!(found("10.0.0.1", said), expected, "{said:?}");
        }
    }

    #[test]
    fn who_is_not_trusted_is_not_believed() {
        assert_eq!(found("192.0.2.1", &[b"203.0.113.9"]), "192.0.2.1");
        assert_eq!(found("127.0.0.1", &[b"203.0.113.9, 10.0.0.7"]), "127.0.0.1");
    }
}
