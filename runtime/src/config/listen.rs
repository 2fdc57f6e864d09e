//! Where the server listens, as `listen` names it: an address, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a Unix socket is told from an address.
const UNIX: &str = "unix:";

/// The longest path that a Unix socket can have, in bytes: `sun_path` of unix(7) and the zero at its end are 108.
pub const LONGEST_PATH: usize = 107;

/// Where the server listens: `127.0.0.1:3000`, `[::1]:3000` or `unix:/run/tulpar.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// An address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let address = text.parse().map(Self::Tcp);
            return address.map_err(|_| {
                format!(
                    "`listen` is {text:?}; it must be an address with a port, such as \"127.0.0.1:3000\", or \
                     \"unix:\" and a path"
                )
            });
        };
        match path.len() {
            0 => Err("`listen` names no path behind \"unix:\"".into()),
            _ if path.contains('\0') => Err("`listen` has a path with a zero byte".into()),
            1..=LONGEST_PATH => Ok(Self::Unix(path.into())),
            bytes => Err(format!(
                "`listen` has a path of {bytes} bytes; a Unix socket's has {LONGEST_PATH} at most"
            )),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;
    use super::*;

    #[test]
    fn it_is_an_address_or_a_path() {
        let longest = format!("unix:{}", "a".repeat(LONGEST_PATH));
        for good in [
            "127.0.0.1:0",
            "[::1]:65535",
            "unix:/run/t.sock",
            "unix:t",
            &longest,
        ] {
            let config = from_text(&format!("listen = '{good}'")).unwrap();
            assert_eq!(config.listen.to_string(), good);
        }
        assert_eq!("unix:/a b".parse(), Ok(Listen::Unix("/a b".into())));
    }

    #[test]
    fn what_is_neither_is_refused_with_the_reason() {
        let too_long = format!("unix:{}", "a".repeat(LONGEST_PATH + 1));
        for (bad, why) in [
            ("", "must be an address"),
            ("nowhere", "must be an address"),
            ("127.0.0.1", "must be an address"),
            ("localhost:80", "must be an address"),
            ("127.0.0.1:65536", "must be an address"),
            ("/run/t.sock", "must be an address"),
            ("unix:", "names no path"),
            ("unix:a\\u0000b", "zero byte"),
            (&too_long, "108 bytes"),
        ] {
            let said = from_text(&format!("listen = \"{bad}\"")).expect_err(bad);
            assert!(said.starts_with("test: `listen`"), "{said}");
            assert!(said.contains(why), "{said}");
        }
    }
}
