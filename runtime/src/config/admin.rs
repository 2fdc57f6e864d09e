//! Where the operator reaches a running server, `[admin]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HostPattern;

/// The shortest token, in bytes: one that cannot be guessed at the pace at which the server answers.
const SHORTEST_TOKEN: usize = 16;

/// Where the operator reaches a running server, and what is asked for there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Admin {
    /// The Unix socket of `tulpar plugins`, see [`Admin::unix`]. Its folder is made for its owner alone.
    pub socket: PathBuf,
    /// The address of the live page; none when there is to be none. Port 0 takes a free one.
    #[serde(with = "address")]
    pub listen: Option<SocketAddr>,
    /// What has to be said on that address. Empty: nothing, which only an address of this machine may have.
    pub token: Secret,
    /// The names, beside those of this machine and addresses, under which that address is asked for.
    pub hosts: Vec<HostPattern>,
    /// Whether a plugin may be put into the plugins folder from there.
    pub uploads: bool,
}

/// A secret that whoever asks has to know. It is not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: ".tulpar/admin.sock".into(),
            listen: None,
            token: Secret::default(),
            hosts: Vec::new(),
            uploads: false,
        }
    }
}

impl Admin {
    /// The Unix socket on which `tulpar plugins` reaches a running server; none when there is to be none.
    #[must_use]
    pub fn unix(&self) -> Option<&Path> {
        Some(self.socket.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Why the address and the token do not go together; none when they do.
    pub(super) fn conflict(&self) -> Option<String> {
        let token = self.token.text();
        if token.is_some_and(|token| token.len() < SHORTEST_TOKEN) {
            return Some(format!(
                "`admin.token` is shorter than {SHORTEST_TOKEN} bytes; `openssl rand -hex 16` makes a good one"
            ));
        }
        // It is sent in a header.
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Some(
                "`admin.token` has a character other than letters, digits and signs of ASCII"
                    .into(),
            );
        }
        match self.listen {
            Some(address) if !address.ip().is_loopback() && token.is_none() => Some(format!(
                "`admin.listen` is {address}, which other machines may reach; it needs `admin.token` beside it \
                 (TULPAR_ADMIN_TOKEN in the environment)"
            )),
            _ => None,
        }
    }
}

impl Secret {
    /// What it is; none when nothing is asked for.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// An address, or an empty text for none.
mod address {
    use std::net::SocketAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes it so")]
    pub(super) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = address.map(|address| address.to_string());
        serializer.serialize_str(&text.unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        let address = text.parse().map(Some);
        address.map_err(|_| {
            D::Error::custom(format!(
                "`admin.listen` is {text:?}; it must be an address with a port, such as \"127.0.0.1:3001\", or empty"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;
    use super::*;

    fn said(text: &str) -> Result<Admin, String> {
        Ok(from_text(&format!("[admin]\n{text}"))?.admin)
    }

    #[test]
    fn an_empty_path_means_no_socket() {
        let default = Admin::default();
        assert_eq!(default.unix(), Some(default.socket.as_path()));
        assert_eq!(said("socket = ''").unwrap().unix(), None);
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        let token = "token = 'sixteen-or-more!'";
        for address in ["127.0.0.1:3001", "[::1]:0", "127.9.9.9:1"] {
            let listen = format!("listen = '{address}'");
            assert!(said(&listen).is_ok(), "{address}");
            assert!(said(&format!("{listen}\n{token}")).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:3001", "[::]:3001", "192.0.2.1:3001"] {
            let listen = format!("listen = '{address}'");
            let why = said(&listen).unwrap_err();
            assert!(
                why.contains("which other machines may reach; it needs `admin.token`"),
                "{why}"
            );
            assert!(said(&format!("{listen}\n{token}")).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_token_is_long_and_fits_a_header() {
        let token = |token: &str| said(&format!("token = \"{token}\""));
        assert!(token("").is_ok());
        assert!(token("0123456789abcdef").is_ok());
        let why = token("0123456789abcde").unwrap_err();
        assert!(why.contains("shorter than 16 bytes"), "{why}");
        for wrong in [
            "0123456789 abcdef",
            "0123456789äbcdefg",
            "0123456789abcdef\\n",
        ] {
            let why = token(wrong).unwrap_err();
            assert!(why.contains("a character other than"), "{why}");
            assert!(!why.contains("0123"), "{why}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let admin = said("token = '0123456789abcdef'").unwrap();
        assert_eq!(admin.token.text(), Some("0123456789abcdef"));
        assert!(!format!("{admin:?}").contains("0123"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for wrong in ["nowhere", "127.0.0.1", "unix:/run/t.sock"] {
            let why = said(&format!("listen = '{wrong}'")).unwrap_err();
            assert!(why.starts_with("test: `admin.listen` is"), "{why}");
        }
    }
}
