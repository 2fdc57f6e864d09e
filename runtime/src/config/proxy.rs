//! The proxies before the server, `[proxy]`: whose word is taken for where a client is.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The proxies before the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proxy {
    /// The addresses whose `X-Forwarded-For` is believed; from others it is ignored.
    pub trusted: Vec<Network>,
    /// Whether connections from these begin with a header of the PROXY protocol, version 1 or 2.
    pub protocol: bool,
}

impl Proxy {
    /// Whether a proxy with that address is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// An address, or all addresses with the same beginning, as CIDR writes them: `10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is one of these. An IPv4 address written as an IPv6 one (`::ffff:10.0.0.1`), as a socket for
    /// both shows it, is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| {
                format!(
                    "{text:?} in `trusted` is no address; write one such as \"10.0.0.7\" or a range such as \
                     \"10.0.0.0/8\""
                )
            })?,
        };
        // What is compared with it never is one.
        if matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err(format!(
                "{text:?} in `trusted` is an IPv4 address written as an IPv6 one; write it as IPv4"
            ));
        }
        // Most likely a misprint of one or the other.
        if network.addr() != network.network() {
            return Err(format!(
                "{text:?} in `trusted` is an address within a range; the range itself is \"{}\"",
                network.trunc()
            ));
        }
        Ok(Self(network))
    }
}

impl From<Network> for String {
    fn from(Network(network): Network) -> Self {
        match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;
    use super::*;

    fn proxy(trusted: &str) -> Result<Proxy, String> {
        from_text(&format!("[proxy]\ntrusted = [{trusted}]")).map(|config| config.proxy)
    }

    fn trusts(trusted: &str, address: &str) -> bool {
        proxy(trusted).unwrap().trusts(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_trusted_when_it_is_listed() {
        assert!(!trusts("", "127.0.0.1"));
        assert!(trusts("'127.0.0.1'", "127.0.0.1"));
        assert!(!trusts("'127.0.0.1'", "127.0.0.2"));
        assert!(trusts("'127.0.0.1', '10.0.0.0/8'", "10.255.255.255"));
        assert!(!trusts("'10.0.0.0/8'", "11.0.0.0"));
        assert!(trusts("'0.0.0.0/0'", "8.8.8.8"));
        assert!(!trusts("'0.0.0.0/0'", "2001:db8::1"));
        assert!(trusts("'2001:db8::/32'", "2001:db8:ffff::1"));
        assert!(!trusts("'2001:db8::/32'", "2001:db9::1"));
        assert!(trusts("'10.0.0.0/8'", "::ffff:10.1.2.3"));
        assert!(!trusts("'::/0'", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (bad, why) in [
            ("", "is no address"),
            ("localhost", "is no address"),
            ("10.0.0.1:80", "is no address"),
            ("10.0.0.0/33", "is no address"),
            ("10.0.0.0/-1", "is no address"),
            ("10.0.0/8", "is no address"),
            ("::/129", "is no address"),
            ("10.0.0.1/8", "the range itself is \"10.0.0.0/8\""),
            ("::ffff:10.0.0.1", "write it as IPv4"),
            ("::ffff:10.0.0.0/104", "write it as IPv4"),
        ] {
            let said = proxy(&format!("'{bad}'")).expect_err(bad);
            assert!(said.starts_with("test: `proxy.trusted`"), "{said}");
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for text in [
            "10.0.0.7",
            "10.0.0.0/8",
            "::1",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            let network = Network::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(network), text);
        }
    }
}
