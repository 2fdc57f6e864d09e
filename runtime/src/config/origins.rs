//! The pages that may connect, as `origins` in the configuration names them: origins of RFC 6454.

use serde::{Deserialize, Serialize};

use super::HostPattern;

/// The longest origin that is looked at, in bytes: a scheme, a name of DNS and a port are far below.
const LONGEST: usize = 512;

/// The pages that may connect besides those of the server's own host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(Vec<OriginPattern>);

impl Origins {
    /// Whether a page may connect. `origin` is the request's `Origin`, `host` its `Host`; none when there is not exactly
    /// one.
    ///
    /// A page of the host that it connects to may, by whatever scheme: who ends TLS before the server does not tell. A
    /// port that is not said is the one of the origin's scheme. What is no origin at all may not, whatever is listed.
    #[must_use]
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        match Origin::parse(origin) {
            None => false,
            Some(Origin::Null) => self.0.iter().any(OriginPattern::is_null),
            Some(Origin::Page {
                scheme,
                host: page,
                port,
            }) => {
                let default = default_port(scheme);
                host.is_some_and(|host| is_at(host, page, port.unwrap_or(default), default))
                    || self.0.iter().any(|it| it.is_of(scheme, page, port))
            }
        }
    }
}

/// What a request says of the page that sends it.
#[derive(Debug, PartialEq, Eq)]
enum Origin<'a> {
    /// A page that keeps for itself where it is from: a file, or one in a sandbox.
    Null,
    Page {
        scheme: &'a str,
        host: &'a str,
        port: Option<u16>,
    },
}

impl<'a> Origin<'a> {
    /// An origin as RFC 6454, section 7, writes one; none for anything else, several in one header among it.
    fn parse(text: &'a str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split(rest)?;
        (text.len() <= LONGEST && is_scheme(scheme)).then_some(Self::Page { scheme, host, port })
    }
}

/// A host and its port, which may be missing. What else there may be in a URL makes it none.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    // An IPv6 address is in brackets, and its colons are its own.
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        // `parse` would take a sign too.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
    };
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let fits = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let in_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            !host.is_empty() && host.bytes().all(in_name)
        }
    };
    fits.then_some((host, port))
}

/// Whether that `Host` names this host and port.
fn is_at(authority: &str, host: &str, port: u16, default_port: u16) -> bool {
    split(authority).is_some_and(|(named, at)| {
        named.eq_ignore_ascii_case(host) && at.unwrap_or(default_port) == port
    })
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(rest)
}

/// The port that need not be said; 0 for a scheme that has none, which no origin has.
fn default_port(scheme: &str) -> u16 {
    let is = |other| scheme.eq_ignore_ascii_case(other);
    match () {
        () if is("http") || is("ws") => 80,
        () if is("https") || is("wss") => 443,
        () => 0,
    }
}

/// Origins that are allowed: `https://app.example.com`, `https://*.example.com:8443`, `null` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
enum OriginPattern {
    /// All, `null` too.
    All,
    Null,
    Page {
        /// Lower case.
        scheme: String,
        host: HostPattern,
    },
}

impl OriginPattern {
    fn is_null(&self) -> bool {
        matches!(self, Self::All | Self::Null)
    }

    fn is_of(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::All => true,
            Self::Null => false,
            Self::Page {
                scheme: its,
                host: pattern,
            } => {
                its.eq_ignore_ascii_case(scheme) && pattern.allows(host, port, default_port(scheme))
            }
        }
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "*" => return Ok(Self::All),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let page = text.split_once("://").and_then(|(scheme, host)| {
            let scheme = is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?;
            let host = HostPattern::try_from(host.to_owned()).ok()?;
            Some(Self::Page { scheme, host })
        });
        page.filter(|_| text.len() <= LONGEST).ok_or_else(|| {
            // What is before an `@` would be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            format!(
                "{shown:?} in `origins` is no origin; write one such as \"https://app.example.com\", \
                 \"https://*.example.com:8443\", \"null\" or, for all, \"*\""
            )
        })
    }
}

impl From<OriginPattern> for String {
    fn from(pattern: OriginPattern) -> Self {
        match pattern {
            OriginPattern::All => "*".into(),
            OriginPattern::Null => "null".into(),
            OriginPattern::Page { scheme, host } => format!("{scheme}://{}", String::from(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an origin may connect to `example.com:3000` with these listed.
    fn allows(listed: &[&str], origin: &str) -> bool {
        at(Some("example.com:3000"), listed, origin)
    }

    fn at(host: Option<&str>, listed: &[&str], origin: &str) -> bool {
        let listed = listed
            .iter()
            .map(|text| OriginPattern::try_from(text.to_string()));
        let origins = Origins(listed.collect::<Result<_, _>>().unwrap());
        origins.allows(origin, host)
    }

    #[test]
    fn c10_a_page_of_the_same_host_and_port_is_allowed_by_any_scheme() {
        for origin in [
            "http://example.com:3000",
            "https://example.com:3000",
            "HTTPS://EXAMPLE.com:3000",
        ] {
            assert!(allows(&[], origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "http://example.com:3001",
            "http://www.example.com:3000",
            "http://com:3000",
            "http://example.com.evil.org:3000",
            "http://evil-example.com:3000",
            "http://example.org:3000",
            "null",
        ] {
            assert!(!allows(&[], origin), "{origin}");
        }
        assert!(!at(None, &[], "http://example.com"));
    }

    #[test]
    fn c10_a_port_that_is_not_said_is_the_one_of_the_origins_scheme() {
        for (host, origin, same) in [
            ("a", "http://a", true),
            ("a", "https://a", true),
            ("A", "https://a:443", true),
            ("a:443", "https://a", true),
            ("a:80", "http://a", true),
            ("a:80", "https://a", false),
            ("a:443", "http://a", false),
            ("a", "http://a:443", false),
            ("a", "https://a:80", false),
            ("a:", "https://a", false),
            ("a:0443", "https://a", true),
            ("[::1]", "http://[::1]", true),
            ("[::1]:80", "http://[::1]", true),
            ("[::1]:81", "http://[::1]:81", true),
            ("[::1]:81", "http://[::1]:80", false),
            ("[::1]", "http://[::2]", false),
            ("127.0.0.1:3000", "http://127.0.0.1:3000", true),
            ("127.0.0.1:3000", "http://localhost:3000", false),
            ("", "http://a", false),
            ("a/b", "http://a", false),
            ("x@a", "http://a", false),
            ("a, a", "http://a", false),
        ] {
            assert_eq!(at(Some(host), &[], origin), same, "{origin} at {host}");
        }
    }

    #[test]
    fn c10_what_is_listed_is_allowed_and_nothing_that_looks_like_it() {
        let listed = [
            "https://app.example.org",
            "https://*.example.net",
            "http://dev:8080",
        ];
        for origin in [
            "https://app.example.org",
            "https://APP.example.org:443",
            "https://a.example.net",
            "https://a.b.example.net",
            "http://dev:8080",
        ] {
            assert!(allows(&listed, origin), "{origin}");
        }
        for origin in [
            "http://app.example.org",
            "wss://app.example.org",
            "https://app.example.org:8443",
            "https://x.app.example.org",
            "https://evil-app.example.org",
            "https://app.example.org.evil.com",
            "https://example.net",
            "https://.example.net",
            "https://evil-example.net",
            "https://evilexample.net",
            "https://a.example.net.evil.com",
            "http://a.example.net",
            "https://a.example.net:444",
            "http://dev",
            "http://dev:80",
            "null",
        ] {
            assert!(!allows(&listed, origin), "{origin}");
        }
    }

    #[test]
    fn c10_null_and_all_are_allowed_where_they_are_listed() {
        assert!(allows(&["null"], "null"));
        assert!(!allows(&["null"], "http://a"));
        for origin in ["null", "http://a", "chrome-extension://abcdef"] {
            assert!(allows(&["*"], origin), "{origin}");
        }
        let extension = ["chrome-extension://abcdef"];
        assert!(allows(&extension, extension[0]));
        assert!(!allows(&extension, "chrome-extension://abcdeg"));
    }

    #[test]
    fn c10_what_is_no_origin_is_not_allowed_though_all_are() {
        let long = format!("http://{}", "a".repeat(LONGEST));
        let most = format!("http://{}", "a".repeat(LONGEST - 7));
        for origin in [
            "",
            " ",
            "*",
            "NULL",
            "a",
            "//a",
            "://a",
            "http:",
            "http:a",
            "http://",
            "http:///",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://u@a",
            "http://u:p@a",
            "http://a b",
            " http://a",
            "http://a http://b",
            "http://a,http://b",
            "http://a, http://b",
            "null null",
            "http://a:",
            "http://a:x",
            "http://a:+1",
            "http://a:65536",
            "http://a:1:2",
            "http://:80",
            "http://*",
            "http://*.a",
            "http://[::1",
            "http://[::1]x",
            "http://[a]",
            "http://[]",
            "http://::1",
            "1http://a",
            "ht tp://a",
            "http://ü",
            "http://a%2eb",
            &long,
        ] {
            assert!(!allows(&["*", "null"], origin), "{origin:?}");
        }
        assert!(allows(&["*"], &most));
    }

    #[test]
    fn an_origin_that_cannot_be_is_refused() {
        for bad in [
            "",
            "a",
            "example.com",
            "*.example.com",
            "https://",
            "https://*",
            "https://*.*.a",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://a:0",
            "https://a:65536",
            "*://a",
            "://a",
            "NULL",
        ] {
            let said = OriginPattern::try_from(bad.to_owned()).expect_err(bad);
            assert!(said.contains("in `origins` is no origin"), "{said}");
        }
        for good in [
            "*",
            "null",
            "https://a",
            "https://*.a:1",
            "http://[::1]:80",
            "app://x",
        ] {
            let pattern = OriginPattern::try_from(good.to_owned()).unwrap();
            assert_eq!(String::from(pattern), good);
        }
    }
}
