//! What the server counts, for a monitoring system to read: each number has its name and its meaning here.
//!
//! What is the whole server's is counted here, what is a plugin's where it happens; the operator's list of plugins has
//! that, and is told with the rest.

mod process;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::process::Process;

/// The media type of what [`Metrics::render`] gives.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a connection or an upgrade was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `limits.connections`.
    Full,
    /// `limits.connections-per-address`.
    Address,
    /// The handshake of TLS or the header of a proxy.
    Entrance,
    /// A request that is malformed, too large, or not there in time.
    Request,
    /// The page that wants a socket is of another origin.
    Origin,
    /// `quotas.connections`.
    Quota,
    /// A response that its client does not take in time.
    Response,
}

/// Why the server has given a socket up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// RFC 6455 was broken: 1002.
    Protocol,
    /// Text that is not UTF-8, or compressed data that is none: 1007.
    Payload,
    /// A message over `limits.max-message-bytes`, or that inflates too much: 1009.
    Size,
    /// There is no room for the message that is coming in: 1013.
    Receiving,
    /// Its peer reads too slowly: 1008.
    Slow,
    /// Its peer gives no sign of life.
    Silent,
}

/// What every name begins with that is not of the process.
const PREFIX: &str = "tulpar";

/// All of them.
pub struct Metrics {
    registry: Registry,
    connections: Counter,
    sockets: Counter,
    refused: Family<Refused, Counter>,
    lost: Family<Lost, Counter>,
    held_back: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lost {
    reason: Loss,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::Full,
        Self::Address,
        Self::Entrance,
        Self::Request,
        Self::Origin,
        Self::Quota,
        Self::Response,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Entrance => "entrance",
            Self::Request => "request",
            Self::Origin => "origin",
            Self::Quota => "quota",
            Self::Response => "response",
        }
    }
}

impl Loss {
    const ALL: [Self; 6] = [
        Self::Protocol,
        Self::Payload,
        Self::Size,
        Self::Receiving,
        Self::Slow,
        Self::Silent,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Payload => "payload",
            Self::Size => "size",
            Self::Receiving => "receiving",
            Self::Slow => "slow",
            Self::Silent => "silent",
        }
    }
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

impl EncodeLabelValue for Loss {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

impl Metrics {
    /// Nothing has been counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(Process::new()));
        let registry = whole.sub_registry_with_prefix(PREFIX);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which server this is", Info::new(version));
        let (connections, sockets, held_back) =
            (Counter::default(), Counter::default(), Counter::default());
        let refused = Family::<Refused, Counter>::default();
        let lost = Family::<Lost, Counter>::default();
        registry.register(
            "connections",
            "Connections that were accepted",
            connections.clone(),
        );
        registry.register(
            "refused",
            "Connections and requests that were not served, by reason",
            refused.clone(),
        );
        registry.register(
            "sockets",
            "Connections that became sockets",
            sockets.clone(),
        );
        registry.register(
            "sockets_lost",
            "Sockets that the server has given up, by reason",
            lost.clone(),
        );
        registry.register(
            "held_back",
            "Pauses in reading from a socket, for limits.socket-messages-per-second or quotas.messages-per-second",
            held_back.clone(),
        );
        // So that each is there before it first happens.
        for reason in Refusal::ALL {
            drop(refused.get_or_create(&Refused { reason }));
        }
        for reason in Loss::ALL {
            drop(lost.get_or_create(&Lost { reason }));
        }
        Self {
            registry: whole,
            connections,
            sockets,
            refused,
            lost,
            held_back,
        }
    }

    /// A connection was accepted.
    pub fn connection(&self) {
        self.connections.inc();
    }

    /// A connection or a request was not served.
    pub fn refused(&self, reason: Refusal) {
        self.refused.get_or_create(&Refused { reason }).inc();
    }

    /// A connection has become a socket.
    pub fn socket(&self) {
        self.sockets.inc();
    }

    /// A socket was given up.
    pub fn lost(&self, reason: Loss) {
        self.lost.get_or_create(&Lost { reason }).inc();
    }

    /// A socket is not read from for a while, because too much has come.
    pub fn held_back(&self) {
        self.held_back.inc();
    }

    /// All numbers, as OpenMetrics text, with those that somebody else has.
    #[must_use]
    pub fn render(
        &self,
        ready: bool,
        others: impl IntoIterator<Item = Box<dyn Collector>>,
    ) -> String {
        let mut now = Registry::with_prefix(PREFIX);
        let gauge = ConstGauge::new(u64::from(ready));
        now.register(
            "ready",
            "Whether connections should be sent here: 1, or 0",
            gauge,
        );
        for others in others {
            now.register_collector(others);
        }
        let mut all = String::new();
        // Writing to a String does not fail.
        let _ = text::encode_registry(&mut all, &self.registry)
            .and_then(|()| text::encode_registry(&mut all, &now))
            .and_then(|()| text::encode_eof(&mut all));
        all
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_there_before_it_first_happens_and_is_counted() {
        let metrics = Metrics::new();
        metrics.refused(Refusal::Origin);
        metrics.lost(Loss::Slow);
        metrics.lost(Loss::Slow);
        let text = metrics.render(true, [Box::new(Process::new()) as Box<dyn Collector>]);
        for line in [
            "tulpar_refused_total{reason=\"origin\"} 1",
            "tulpar_refused_total{reason=\"full\"} 0",
            "tulpar_sockets_lost_total{reason=\"slow\"} 2",
            "tulpar_sockets_total 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
