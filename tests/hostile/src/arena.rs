//! Where an attack takes place, and what its clients see.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tulpar_tests::{Client, CloseFrame, Connect, Message, Response, Server, within};

/// What a guest begins its answer with when it is still there after its harm.
const OUTCOME: &str = "outcome: ";

/// How long a call that never ends may take until it is stopped, on a machine that does other things beside.
const LATE: Duration = Duration::from_secs(9);

/// The tenants of the attacker. What one of them loses to a quarantine the others go on with.
pub const TENANTS: [&str; 4] = ["evil1", "evil2", "evil3", "evil4"];

/// The server, and for how long it is attacked.
pub struct Arena {
    /// The tenants that attack.
    pub tenants: &'static [&'static str],
    /// The server.
    pub server: Server,
    /// The ids of the neighbour's sockets.
    pub neighbour_ids: Vec<String>,
    /// When the attack is over.
    pub until: Instant,
}

/// What came of one strike, as the attacker's client saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The guest lived to tell.
    Told(String),
    /// The host closed the connection with this code.
    Closed(u16),
    /// The connection ended without a close frame.
    Dropped,
    /// The upgrade was refused with this status. A 503 has said when to come back.
    Refused(u16),
}

impl Fate {
    /// The guest was stopped, or its plugin is in quarantine.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Closed(1011)) || self.is_quarantined()
    }

    /// The plugin is in quarantine.
    pub fn is_quarantined(&self) -> bool {
        matches!(self, Self::Refused(503))
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(outcome) => f.write_str(outcome),
            Self::Closed(code) => write!(f, "{code}"),
            Self::Dropped => f.write_str("dropped"),
            Self::Refused(status) => write!(f, "{status}"),
        }
    }
}

/// What became of a file.
pub enum Settled {
    /// It is refused, for this reason.
    Refused(String),
    /// It is served at this path.
    Served(String),
}

/// How often each fate was met.
#[derive(Default)]
pub struct Tally(BTreeMap<Fate, u32>);

impl Tally {
    /// Counts one.
    pub fn add(&mut self, fate: Fate) {
        *self.0.entry(fate).or_default() += 1;
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails when a fate is none of those that are promised, or when there was none.
    pub fn all(self, promised: impl Fn(&Fate) -> bool) -> Self {
        assert!(!self.0.is_empty(), "nothing was tried");
        for fate in self.0.keys() {
            assert!(promised(fate), "not what was promised: {fate} among {self}");
        }
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What guests tell differs in numbers; a few examples say enough.
        const SHOWN: usize = 4;
        for (index, (fate, times)) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{times} x {fate}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} others"),
        }
    }
}

impl FromIterator<Fate> for Tally {
    fn from_iter<T: IntoIterator<Item = Fate>>(fates: T) -> Self {
        let mut tally = Self::default();
        fates.into_iter().for_each(|fate| tally.add(fate));
        tally
    }
}

impl Arena {
    /// Whether there is time left to attack.
    pub fn is_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Opens a connection, or tells why not.
    pub async fn open(&self, path: &str) -> Result<Client, Fate> {
        let opened = Connect::to(self.server.url(path)).try_open().await;
        opened.map_err(|response| refused(&response))
    }

    /// Opens a connection, sends a message and waits for what comes of it.
    pub async fn strike(&self, path: &str, message: &str) -> Fate {
        match self.open(path).await {
            Ok(mut client) => {
                client.send(message).await;
                fate(&mut client).await
            }
            Err(fate) => fate,
        }
    }

    /// Strikes in all tenants at once, again and again until the time is up. In a tenant whose plugin is in quarantine it
    /// is over sooner.
    pub async fn assault(&self, path: &str, message: &str) -> Tally {
        let one = async |tenant: &&str| {
            let path = format!("/{tenant}{path}");
            let mut fates = Vec::new();
            while fates.is_empty() || self.is_on() {
                let fate = self.strike(&path, message).await;
                let is_over = fate.is_quarantined();
                fates.push(fate);
                if is_over {
                    break;
                }
            }
            fates
        };
        let fates = join_all(self.tenants.iter().map(one)).await;
        fates.into_iter().flatten().collect()
    }

    /// A first strike is stopped, the next event is served by a new instance, and an assault ends no better.
    pub async fn is_stopped(&self, path: &str, message: &str) -> String {
        let first = format!("/{}{path}", self.tenants[0]);
        let begun = Instant::now();
        let fate = self.strike(&first, message).await;
        let taken = begun.elapsed();
        assert_eq!(fate, Fate::Closed(1011), "the first strike is stopped");
        // Nothing interrupts an instruction, so that the deadline may be overrun by the longest; by no more than that.
        assert!(taken < LATE, "the first strike was stopped after {taken:?}");
        self.expect_echo(&first).await;
        let tally = self.assault(path, message).await.all(Fate::is_stopped);
        let after = self.still_serves(&first).await;
        format!("the first stopped after {taken:.0?}; {tally}; {after}")
    }

    /// The path is served by something that echoes.
    pub async fn expect_echo(&self, path: &str) {
        assert_eq!(self.still_serves(path).await, "still served", "{path}");
    }

    /// What the path does after the attack: it is served, or in quarantine.
    pub async fn still_serves(&self, path: &str) -> &'static str {
        // A call that is still under way may flood whoever is new, and cost him his connection.
        const TRIES: usize = 20;
        let mut ended = None;
        for _ in 0..TRIES {
            match self.open(path).await {
                Ok(mut client) => match comes_back(&mut client).await {
                    Ok(()) => return "still served",
                    Err(fate) => ended = Some(fate),
                },
                Err(fate) if fate.is_quarantined() => return "in quarantine",
                Err(fate) => panic!("{path} is refused with {fate} after the attack"),
            }
        }
        panic!("{path} does not echo after the attack: {ended:?}")
    }

    /// What became of a file that was dropped in, by what the server says of it: refused, or served at a path.
    pub async fn settled(&self, file: &str) -> Settled {
        // A file is looked at when it has stayed as it is for a moment, and one that takes long to compile is given up
        // some time.
        const PATIENCE: Duration = Duration::from_secs(90);
        let (refused, served) = (format!("{file}: "), format!(" from {file}"));
        let end = Instant::now() + PATIENCE;
        loop {
            // In the table when the server starts, and in the log when it runs, with the whole path there.
            let said = |word| {
                [&self.server.stdout, &self.server.stderr]
                    .map(|lines| lines.with(word))
                    .concat()
            };
            let lines = said("refused ");
            let why = lines.iter().find_map(|line| line.split_once(&refused));
            if let Some((_, why)) = why {
                return Settled::Refused(format!("refused: {why}"));
            }
            let lines = said("serving ");
            let path = lines.iter().find_map(|line| {
                let (_, rest) = line.split_once("serving ")?;
                rest.strip_suffix(&served)
            });
            if let Some(path) = path {
                return Settled::Served(path.to_owned());
            }
            assert!(
                Instant::now() < end,
                "{file} is neither served nor refused after {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A message comes back, behind what the attack may still send to everybody.
async fn comes_back(client: &mut Client) -> Result<(), Fate> {
    const TEXT: &str = "anybody?";
    client.send(TEXT).await;
    loop {
        match client.recv_or_end().await {
            None => return Err(Fate::Dropped),
            Some(Message::Close(frame)) => return Err(closed(frame)),
            Some(Message::Text(text)) if text.as_str() == TEXT => return Ok(()),
            Some(_) => (),
        }
    }
}

/// What comes of a connection on which a strike was sent.
pub async fn fate(client: &mut Client) -> Fate {
    loop {
        match client.recv_or_end().await {
            None => return Fate::Dropped,
            Some(Message::Close(frame)) => return closed(frame),
            Some(Message::Text(text)) => {
                if let Some(outcome) = text.as_str().strip_prefix(OUTCOME) {
                    return Fate::Told(outcome.to_owned());
                }
            }
            // The answer of a namespace that is written by hand.
            Some(Message::Binary(bytes)) => {
                if let Ok(word) = <[u8; 4]>::try_from(&bytes[..]) {
                    return Fate::Told(i32::from_le_bytes(word).to_string());
                }
            }
            Some(_) => (),
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Fate {
    // A close frame of the server's always has a code.
    frame.map_or(Fate::Dropped, |frame| Fate::Closed(frame.code.into()))
}

fn refused(response: &Response) -> Fate {
    if response.status == 503 {
        let retry = response.header("retry-after");
        let seconds = retry.and_then(|seconds| seconds.parse::<u64>().ok());
        assert!(
            seconds.is_some_and(|seconds| seconds > 0),
            "a 503 without a Retry-After: {response:?}"
        );
    }
    Fate::Refused(response.status)
}

/// Waits for all of them.
pub async fn all<T>(
    what: &str,
    futures: impl IntoIterator<Item = impl Future<Output = T>>,
) -> Vec<T> {
    within(what, join_all(futures)).await
}
