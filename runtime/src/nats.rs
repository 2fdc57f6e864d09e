//! The connection to NATS, by which nodes reach each other.
//!
//! There is one for the whole server, which is made again whenever it is lost. What is under way then is lost with it.
//! What is kept in NATS is in buckets of JetStream ([`Bucket`]).

mod answers;
mod bucket;
mod layout;
mod replies;
mod requests;
mod silence;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::sync::watch;
use tokio::time::timeout;

pub use self::answers::{Entry, Failure, is_removal};
pub use self::bucket::{Bucket, Contents};
pub use self::layout::Layout;
use self::replies::Replies;
pub use self::replies::{Awaited, Reply};
use crate::config::Backplane;

/// How long a server that accepts a connection may take to say who it is, and how long a start waits for a connection
/// that is not required.
const PATIENCE: Duration = Duration::from_secs(2);
/// Commands to the client that may wait until it takes them: so many that it is their bytes, which are bounded for each tenant,
/// that are too much first.
const COMMANDS: usize = 1 << 20;
/// Messages of one subscription that may wait until they are read.
const UNREAD: usize = 16 << 10;

/// What stands for itself in a part of a subject; all else is written with `%`. So no name widens a subscription, and
/// none is that of another.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The same for a key of a bucket, where `=` is written in the place of `%`.
const PLAIN_IN_KEYS: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The same for the name of a bucket, where it is `_`. Servers name folders by it, and some file systems do not tell Acme from
/// acme.
const PLAIN_IN_BUCKETS: AsciiSet = {
    let mut plain = NON_ALPHANUMERIC.remove(b'-');
    let mut letter = b'A';
    while letter <= b'Z' {
        plain = plain.add(letter);
        letter += 1;
    }
    plain
};

/// A name as a part of a subject.
#[must_use]
pub fn token(name: &str) -> String {
    utf8_percent_encode(name, &PLAIN).to_string()
}

/// The name that [`token`] has made a token of; none when it was another's work.
#[must_use]
pub fn name(token: &str) -> Option<String> {
    let name = percent_decode_str(token).decode_utf8().ok()?;
    (self::token(&name) == token).then(|| name.into_owned())
}

/// A name as a part of a key of a bucket.
#[must_use]
pub fn key(name: &str) -> String {
    utf8_percent_encode(name, &PLAIN_IN_KEYS)
        .to_string()
        .replace('%', "=")
}

/// The name that [`key`] has made a key of; none when it was another's work.
#[must_use]
pub fn name_of_key(key: &str) -> Option<String> {
    let name = key.replace('=', "%");
    let name = percent_decode_str(&name).decode_utf8().ok()?;
    (self::key(&name) == key).then(|| name.into_owned())
}

/// The name of a bucket: `PREFIX-KIND`, or `PREFIX-KIND-NAME`. No two names make the same one, also with different prefixes.
fn bucket(prefix: &str, kind: &str, name: Option<&str>) -> String {
    let part = |text: &str| {
        utf8_percent_encode(text, &PLAIN_IN_BUCKETS)
            .to_string()
            .replace('%', "_")
    };
    // Without a `-` in it, so that it is clear where it ends.
    let prefix = part(prefix).replace('-', "_2D");
    match name {
        None => format!("{prefix}-{kind}"),
        Some(name) => format!("{prefix}-{kind}-{}", part(name)),
    }
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is one.
    Up,
    /// There has been none since.
    Down(Instant),
}

/// The connection. Clones are the same one.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    prefix: Arc<str>,
    link: watch::Receiver<Link>,
    unread: Arc<AtomicU64>,
    losses: Arc<AtomicU64>,
    replies: Arc<Replies>,
}

impl Nats {
    /// Connects. When that does not succeed, it goes on trying, unless a connection is required.
    ///
    /// # Errors
    /// A file cannot be read, or a connection is required and cannot be had.
    pub async fn connect(config: &Backplane) -> Result<Self> {
        let (news, mut link) = watch::channel(Link::Down(Instant::now()));
        let servers: Vec<&str> = config.servers.iter().map(|it| it.as_str()).collect();
        let addresses: Result<Vec<ServerAddr>, _> = servers.iter().map(|it| it.parse()).collect();
        let (unread, losses) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let ears = Ears {
            news,
            unread: unread.clone(),
            losses: losses.clone(),
            told: AtomicBool::new(false),
        };
        let options = options(config, Arc::new(ears)).await?;
        let connecting = options.connect(addresses.context("backplane.servers")?);
        let client = match connecting.await {
            Ok(client) => client,
            Err(error) => bail!(
                "no server of NATS can be connected to at {}: {error}",
                servers.join(", ")
            ),
        };
        let replies = Replies::listen(&client, config.prefix.as_str()).await;
        let nats = Self {
            client,
            replies: replies.context("nothing can be asked of NATS")?,
            prefix: config.prefix.as_str().into(),
            link: link.clone(),
            unread,
            losses,
        };
        let up = timeout(PATIENCE, link.wait_for(|link| *link == Link::Up)).await;
        if up.is_err() {
            tracing::warn!(
                "there is no connection to NATS at {} yet; this node serves its own clients, and joins the others as soon \
                 as there is one",
                servers.join(", ")
            );
        }
        Ok(nats)
    }

    /// What publishes and subscribes.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether there is a connection at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether there is a connection, and news of it.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// What subjects of these nodes begin with, without the dot.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Messages that were dropped because those before them were not read in time, about.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// How many connections were lost. One that was made again at once leaves no other trace.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// A question that is going to be asked.
    #[must_use]
    pub fn await_answers(&self) -> Awaited {
        self.replies.await_some()
    }

    /// Whether JetStream is there for this account.
    ///
    /// # Errors
    /// [`Failure::NoJetStream`] when it is not; the others when that is not known.
    pub async fn has_jetstream(&self, patience: Duration) -> Result<(), Failure> {
        bucket::has_jetstream(self, patience).await
    }

    /// The name of a bucket of these nodes for a kind of things, and of those for one that has a name.
    #[must_use]
    pub fn bucket_name(&self, kind: &str, name: Option<&str>) -> String {
        bucket(&self.prefix, kind, name)
    }
}

/// Where what happens to the connection is heard.
struct Ears {
    news: watch::Sender<Link>,
    unread: Arc<AtomicU64>,
    losses: Arc<AtomicU64>,
    /// Whether the log has been told why there is no connection, since there was one.
    told: AtomicBool,
}

async fn options(config: &Backplane, ears: Arc<Ears>) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .name(concat!("tulpar ", env!("CARGO_PKG_VERSION")))
        .no_echo()
        .max_reconnects(None)
        .connection_timeout(PATIENCE)
        // Three that find no answer end a connection.
        .ping_interval(config.heartbeat())
        .request_timeout(Some(config.request()))
        .client_capacity(COMMANDS)
        .subscription_capacity(UNREAD)
        // Each is made of tokens.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            ears.hear(event);
            ready(())
        });
    if !config.required {
        options = options.retry_on_initial_connect();
    }
    if let Some(file) = config.credentials() {
        let read = options.credentials_file(file).await;
        options = read.with_context(|| format!("backplane.credentials: {}", file.display()))?;
    }
    if let Some(password) = config.password.text() {
        options = options.user_and_password(config.user.clone(), password.to_owned());
    }
    if let Some(token) = config.token.text() {
        options = options.token(token.to_owned());
    }
    if let Some(file) = config.ca() {
        options = options.add_root_certificates(file.to_owned());
    }
    if let Some((certificate, key)) = config.certificate() {
        options = options.add_client_certificate(certificate.to_owned(), key.to_owned());
    }
    Ok(options)
}

impl Ears {
    fn hear(&self, event: Event) {
        match event {
            Event::Connected => {
                self.told.store(false, Ordering::Relaxed);
                // The client lets news go when there are many at once: that the one before was lost, perhaps.
                if *self.news.borrow() == Link::Up {
                    self.losses.fetch_add(1, Ordering::Relaxed);
                }
                if let Link::Down(since) = self.news.send_replace(Link::Up) {
                    let after = since.elapsed().as_millis();
                    tracing::info!("connected to NATS, after {after} ms without");
                }
            }
            Event::Disconnected => {
                self.losses.fetch_add(1, Ordering::Relaxed);
                self.news.send_replace(Link::Down(Instant::now()));
                tracing::warn!(
                    "the connection to NATS is lost; it is made again as soon as it can be"
                );
            }
            Event::LameDuckMode => tracing::info!("the server of NATS is going to stop"),
            // As a subject that this user may not use.
            Event::ServerError(error) => tracing::error!("NATS refuses something: {error}"),
            Event::SlowConsumer(_) => _ = self.unread.fetch_add(1, Ordering::Relaxed),
            Event::ClientError(error) => match self.told.swap(true, Ordering::Relaxed) {
                false => tracing::warn!("NATS cannot be connected to: {error}"),
                true => tracing::debug!("NATS cannot be connected to: {error}"),
            },
            Event::Draining | Event::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_each_connection_that_is_lost_is_counted_also_when_nobody_has_said_so() {
        let ears = Ears {
            news: watch::channel(Link::Down(Instant::now())).0,
            unread: Arc::default(),
            losses: Arc::default(),
            told: AtomicBool::new(false),
        };
        for (event, losses) in [
            (Event::Connected, 0),
            (Event::Disconnected, 1),
            (Event::Connected, 1),
            (Event::Connected, 2),
            (Event::SlowConsumer(1), 2),
        ] {
            ears.hear(event);
            assert_eq!(ears.losses.load(Ordering::Relaxed), losses);
        }
    }

    #[test]
    fn r4_no_name_widens_a_subscription_or_is_another() {
        let names = [
            "*",
            ">",
            ".",
            "a.*",
            "a.>",
            "a b",
            "a",
            "A",
            "%2A",
            "%",
            "%25",
            "/chat",
            "ä",
            "\u{1f40e}",
            "a\tb",
            "-_~",
            "",
        ];
        for one in names {
            let token = token(one);
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"%-_~".contains(&byte)),
                "{one:?} becomes {token:?}"
            );
            assert_eq!(name(&token).as_deref(), Some(one));
            for other in names.into_iter().filter(|other| *other != one) {
                assert_ne!(token, self::token(other));
            }
        }
        assert_eq!(token("/a.b*"), "%2Fa%2Eb%2A");
    }

    #[test]
    fn r4_a_key_is_made_of_what_keys_may_have_and_has_one_spelling() {
        let names = [
            "a",
            "A",
            "acme/chat",
            "*",
            ">",
            ".",
            "..",
            "a.b",
            "%",
            "=",
            "=2F",
            "~",
            "a b",
            "\u{1f40e}",
            "\0",
            "-_",
            "",
        ];
        for one in names {
            let key = key(one);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=-_".contains(&byte);
            assert!(key.bytes().all(plain), "{one:?} becomes {key:?}");
            assert_eq!(name_of_key(&key).as_deref(), Some(one));
            for other in names.into_iter().filter(|other| *other != one) {
                assert_ne!(key, self::key(other));
            }
        }
        assert_eq!(key("acme/a~b"), "acme=2Fa=7Eb");
        for strange in ["=2f", "=61", "a.b", "%2F", "~", "=zz", "=FF"] {
            assert_eq!(name_of_key(strange), None, "{strange}");
        }
    }

    #[test]
    fn r4_no_two_names_make_the_same_bucket() {
        assert_eq!(bucket("tulpar", "leases", None), "tulpar-leases");
        assert_eq!(bucket("tulpar", "store", None), "tulpar-store");
        assert_eq!(
            bucket("a.b", "store", Some("my-team")),
            "a_2Eb-store-my-team"
        );
        let mut names = Vec::new();
        for prefix in ["a", "A", "a-store", "a-store-b", "a.b", "a_b", "a_2Eb"] {
            names.push(bucket(prefix, "store", None));
            for tenant in [
                "b",
                "B",
                "b-store-c",
                "store",
                "a.b",
                "a_b",
                "a~b",
                "_2E",
                "-",
                "--",
            ] {
                names.push(bucket(prefix, "store", Some(tenant)));
            }
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(names.iter().all(|name| name.bytes().all(plain)));
        let count = names.len();
        names
            .iter_mut()
            .for_each(|name| name.make_ascii_lowercase());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_token_has_one_spelling() {
        for strange in ["%2a", "%61", "a.b", "*", "%", "%zz", "%FF", "ä"] {
            assert_eq!(name(strange), None, "{strange}");
        }
    }
}
