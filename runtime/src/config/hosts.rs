//! The hosts that a plugin may send requests to, as `hosts` in the configuration names them.

use serde::{Deserialize, Serialize};

/// The hosts of a grant: `api.example.com`, `api.example.com:8443`, `*.example.com` or an IP address. Without a port it
/// is the scheme's own, 80 or 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    /// Lower case; an IPv6 address in brackets.
    host: String,
    /// Whether it is what is below `host`, and not `host` itself.
    below: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// Whether a request to that host goes where the grant allows. `default_port` is the scheme's.
    #[must_use]
    pub fn allows(&self, host: &str, port: Option<u16>, default_port: u16) -> bool {
        // A name that ends in a dot is the same one, said in full.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let right_host = match self.below {
            true => host
                .strip_suffix(&self.host)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.host,
        };
        right_host && port.unwrap_or(default_port) == self.port.unwrap_or(default_port)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // What is before an `@` would be a password.
        let shown = text.rsplit('@').next().unwrap_or_default();
        let wrong = |why: &str| {
            Err(format!(
                "{shown:?} in `hosts` {why}; write a host such as \"api.example.com\", \"api.example.com:8443\" or \
                 \"*.example.com\""
            ))
        };
        if text.contains("://") || text.contains(['/', '?', '#', '@']) {
            return wrong("is more than a host and a port");
        }
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        // An IPv6 address is in brackets, and its colons are its own.
        let split = match rest.rfind(']') {
            Some(end) if rest.starts_with('[') => rest[end + 1..]
                .strip_prefix(':')
                .map(|port| (&rest[..=end], port)),
            _ => rest.rsplit_once(':'),
        };
        let (host, port) = split.map_or((rest, None), |(host, port)| (host, Some(port)));
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return wrong("has a port that is not 1 to 65535"),
        };
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let name = host.len() <= 253
            && host.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if !(name || address && !below) {
            return wrong("names no host");
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            below,
            port,
        })
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        let below = if pattern.below { "*." } else { "" };
        let port = pattern.port.map(|port| format!(":{port}"));
        format!("{below}{}{}", pattern.host, port.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<HostPattern, String> {
        HostPattern::try_from(text.to_owned())
    }

    #[test]
    fn a_grant_that_names_no_host_is_refused() {
        for bad in [
            "",
            "*",
            "*.",
            ".",
            "a..b",
            "https://a.b",
            "a/b",
            "a:0",
            "a:65536",
            "a:x",
            ":80",
            "a b",
            "*.*.b",
            "u@a",
            "[::1",
            "*.[::1]",
            "a*",
        ] {
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
        for good in [
            "a",
            "a.b:1",
            "*.b",
            "127.0.0.1:65535",
            "[::1]:80",
            "[::1]",
            "xn--a",
        ] {
            assert_eq!(String::from(pattern(good).unwrap()), good);
        }
    }

    #[test]
    fn a_grant_allows_what_it_names_and_nothing_else() {
        let allows =
            |grant: &str, host: &str, port| pattern(grant).unwrap().allows(host, port, 443);
        assert!(allows("API.example.com", "api.EXAMPLE.com", None));
        assert!(allows("api.example.com", "api.example.com", Some(443)));
        assert!(!allows("api.example.com", "api.example.com", Some(8443)));
        assert!(allows(
            "api.example.com:8443",
            "api.example.com",
            Some(8443)
        ));
        assert!(!allows("api.example.com:8443", "api.example.com", None));
        assert!(allows("*.example.com", "a.b.example.com", None));
        for other in [
            "example.com",
            ".example.com",
            "badexample.com",
            "example.com.evil.org",
        ] {
            assert!(!allows("*.example.com", other, None), "{other}");
        }
        assert!(allows("example.com", "example.com.", None));
        assert!(!allows("example.com", "a.example.com", None));
        assert!(allows("[::1]:80", "[::1]", Some(80)));
    }
}
