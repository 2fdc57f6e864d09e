//! How the node is joined with others, `[backplane]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::Secret;

/// How the node is joined with others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backplane {
    /// What joins them.
    pub kind: BackplaneKind,
    /// The servers of NATS, one of which is connected to.
    pub servers: Vec<NatsServer>,
    /// A file of credentials, see [`Backplane::credentials`].
    pub credentials: PathBuf,
    /// The name to log in with; empty: none.
    pub user: String,
    /// The password that goes with it.
    pub password: Secret,
    /// What to log in with instead of a name.
    pub token: Secret,
    /// The certificates that the servers' are signed with, in PEM; empty: those that the system trusts.
    pub ca: PathBuf,
    /// This node's own certificate, in PEM; empty: none.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// What all subjects and buckets of these nodes begin with.
    pub prefix: Prefix,
    /// Whether a node without a connection does not start.
    pub required: bool,
    /// What becomes of the clients of a node that is cut off.
    pub cut_off: CutOff,
    /// After how long without a connection a node is cut off.
    pub cut_off_ms: u32,
    /// How long other nodes have to answer.
    pub request_ms: u32,
    /// How often a node says that it is there.
    pub heartbeat_ms: u32,
    /// The rooms of a namespace that a node subscribes to one by one. With more it subscribes to all of the namespace.
    pub rooms: usize,
    /// What may wait to be sent to other nodes, for each tenant.
    pub queue_bytes: usize,
    /// Whether a schedule runs on one node or on each.
    pub schedules: Schedules,
    /// How long a node that runs schedules may be silent before another does.
    pub lease_ms: u32,
    /// Where what plugins keep is kept.
    pub store: StoreKind,
    /// How many servers keep a copy of leases and of what plugins keep.
    pub replicas: u32,
}

/// What joins the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackplaneKind {
    /// Nothing: this node stands alone.
    #[default]
    Local,
    /// NATS.
    Nats,
}

/// What becomes of the clients of a node that is cut off from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutOff {
    /// They are served, without those of other nodes.
    #[default]
    Serve,
    /// They are closed, so that they go to other nodes.
    Close,
}

/// Where a schedule runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedules {
    /// On one node, which holds a lease.
    #[default]
    Once,
    /// On each.
    EachNode,
}

/// Where what plugins keep is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// In files of this node.
    #[default]
    Files,
    /// In buckets of NATS, which all nodes share.
    Jetstream,
}

/// The address of a server of NATS: `nats://HOST:PORT`, or `tls://` for one that must be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NatsServer(String);

/// What all subjects begin with: words of letters, digits, `-` and `_`, with dots between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Default for Backplane {
    fn default() -> Self {
        Self {
            kind: BackplaneKind::default(),
            servers: vec![NatsServer("nats://127.0.0.1:4222".into())],
            credentials: PathBuf::new(),
            user: String::new(),
            password: Secret::default(),
            token: Secret::default(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            prefix: Prefix("tulpar".into()),
            required: false,
            cut_off: CutOff::default(),
            cut_off_ms: 5_000,
            request_ms: 1_000,
            heartbeat_ms: 1_000,
            rooms: 10_000,
            queue_bytes: 8 << 20,
            schedules: Schedules::default(),
            lease_ms: 10_000,
            store: StoreKind::default(),
            replicas: 1,
        }
    }
}

impl Backplane {
    /// Whether there may be other nodes.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.kind == BackplaneKind::Nats
    }

    /// The file of credentials that NATS has given out; none when there is none.
    #[must_use]
    pub fn credentials(&self) -> Option<&Path> {
        named(&self.credentials)
    }

    /// The certificates that the servers' are signed with; none for those that the system trusts.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        named(&self.ca)
    }

    /// This node's own certificate and its key; none when it has none.
    #[must_use]
    pub fn certificate(&self) -> Option<(&Path, &Path)> {
        named(&self.certificate).zip(named(&self.key))
    }

    /// After how long without a connection a node is cut off.
    #[must_use]
    pub fn cut_off_after(&self) -> Duration {
        Duration::from_millis(self.cut_off_ms.into())
    }

    /// How long other nodes have to answer.
    #[must_use]
    pub fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms.into())
    }

    /// How often a node says that it is there.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.into())
    }

    /// How long a node that runs schedules may be silent before another does.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.into())
    }

    /// Which values do not go together; none when all do.
    pub(super) fn conflict(&self) -> Option<String> {
        if self.is_joined() && self.servers.is_empty() {
            return Some("`backplane.servers` is empty; it must name a server of NATS".into());
        }
        if named(&self.certificate).is_some() != named(&self.key).is_some() {
            return Some(
                "`backplane.certificate` and `backplane.key` must be named both or neither".into(),
            );
        }
        if self.user.is_empty() != self.password.text().is_none() {
            return Some(
                "`backplane.user` and `backplane.password` must be said both or neither".into(),
            );
        }
        let ways = [
            self.credentials().is_some(),
            self.token.text().is_some(),
            !self.user.is_empty(),
        ];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Some(
                "of `backplane.credentials`, `backplane.token` and `backplane.user` only one can be logged in with"
                    .into(),
            );
        }
        (!self.is_joined() && self.store == StoreKind::Jetstream).then(|| {
            "`backplane.store` is \"jetstream\", which needs `backplane.kind = \"nats\"` beside it"
                .into()
        })
    }
}

/// A path, unless it is empty.
fn named(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

impl NatsServer {
    /// The address, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NatsServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // What it cannot read may have a secret in it, and is not quoted.
        let uri = text.parse::<Uri>().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        if authority.is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "an address in `backplane.servers` has a name or a password in it; they belong into `backplane.user`, \
                 `backplane.password` and `backplane.token`"
                    .into(),
            );
        }
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        match scheme {
            Some("nats" | "tls") if authority.is_some_and(|it| !it.host().is_empty()) => {
                Ok(Self(text))
            }
            _ => Err(
                "an address in `backplane.servers` is none of a server of NATS; write one such as \
                 \"nats://127.0.0.1:4222\" or \"tls://nats.example.com:4222\""
                    .into(),
            ),
        }
    }
}

impl From<NatsServer> for String {
    fn from(server: NatsServer) -> Self {
        server.0
    }
}

impl Prefix {
    /// The prefix, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let word = |word: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !word.is_empty() && word.bytes().all(fits)
        };
        if text.len() <= 64 && text.split('.').all(word) {
            return Ok(Self(text));
        }
        Err(format!(
            "`backplane.prefix` is {text:?}; it must be words of letters, digits, `-` and `_` with dots between them, 64 \
             bytes at most"
        ))
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;
    use super::*;

    fn said(text: &str) -> Result<Backplane, String> {
        Ok(from_text(&format!("[backplane]\n{text}"))?.backplane)
    }

    #[test]
    fn a_server_of_nats_is_named_by_its_address_and_without_secrets() {
        for server in [
            "nats://127.0.0.1:4222",
            "tls://nats.example.com",
            "nats://[::1]:1",
        ] {
            let config = said(&format!("servers = [{server:?}]")).unwrap();
            assert_eq!(config.servers[0].as_str(), server);
        }
        for server in ["", "127.0.0.1:4222", "http://x", "nats://", "ws://x:1"] {
            let why = said(&format!("servers = [{server:?}]")).unwrap_err();
            assert!(why.contains("is none of a server of NATS"), "{why}");
        }
        for server in ["nats://me:secret@x:4222", "nats://secret@x"] {
            let why = said(&format!("servers = [{server:?}]")).unwrap_err();
            assert!(
                why.contains("belong into") && !why.contains("secret@"),
                "{why}"
            );
        }
        let why = said("kind = 'nats'\nservers = []").unwrap_err();
        assert!(why.contains("`backplane.servers` is empty"), "{why}");
    }

    #[test]
    fn a_prefix_has_no_signs_that_mean_something_in_a_subject() {
        for prefix in ["tulpar", "a.b-c.D_9"] {
            assert!(said(&format!("prefix = {prefix:?}")).is_ok());
        }
        let long = "a".repeat(65);
        for prefix in [
            "", ".", "a.", ".a", "a..b", "*", "a.>", "a b", "ä", "%", &long,
        ] {
            let why = said(&format!("prefix = {prefix:?}")).unwrap_err();
            assert!(why.contains("`backplane.prefix` is"), "{why}");
        }
    }

    #[test]
    fn there_is_one_way_to_log_in_and_it_is_whole() {
        for good in [
            "token = 'x'",
            "user = 'a'\npassword = 'b'",
            "credentials = 'x'",
        ] {
            assert!(said(good).is_ok(), "{good}");
        }
        for bad in [
            "user = 'a'",
            "password = 'b'",
            "key = 'k'",
            "certificate = 'c'",
        ] {
            assert!(said(bad).unwrap_err().contains("both or neither"), "{bad}");
        }
        let why = said("token = 'x'\ncredentials = 'y'").unwrap_err();
        assert!(why.contains("only one"), "{why}");
    }

    #[test]
    fn what_needs_nats_is_not_had_without() {
        assert!(said("store = 'jetstream'").unwrap_err().contains("needs"));
        assert!(said("store = 'jetstream'\nkind = 'nats'").is_ok());
        assert!(!said("").unwrap().is_joined());
    }
}
