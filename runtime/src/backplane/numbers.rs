//! What a backplane has come to.

/// What a backplane has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Whether there is a connection to the others; none when there are to be no others.
    pub connected: Option<bool>,
    /// The other nodes that can be reached.
    pub others: u64,
    /// What other nodes are asked for: the rooms that sockets of this node are in, and the like.
    pub subscriptions: u64,
    /// What was handed on to other nodes: each piece of what is too large for one.
    pub published: u64,
    /// What has come from other nodes, likewise.
    pub received: u64,
    /// What got lost, by why.
    pub lost: [u64; Reason::ALL.len()],
}

/// Why something got lost between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was to be sent while there was no connection.
    CutOff,
    /// Too much waited to be sent.
    Full,
    /// It was sent in the last moments of a connection, and may have arrived or not.
    Unconfirmed,
    /// What came before it was not read in time.
    Unread,
    /// It makes no sense, or is not whole.
    Malformed,
    /// The tenant has more waiting on this node than it may.
    Quota,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CutOff,
        Self::Full,
        Self::Unconfirmed,
        Self::Unread,
        Self::Malformed,
        Self::Quota,
    ];

    /// What it is called in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CutOff => "cut-off",
            Self::Full => "full",
            Self::Unconfirmed => "unconfirmed",
            Self::Unread => "unread",
            Self::Malformed => "malformed",
            Self::Quota => "quota",
        }
    }
}
