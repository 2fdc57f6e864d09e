//! Who has to hear which rooms there are.

use std::sync::Arc;

/// Part of a namespace that somebody is in or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The namespace itself.
    Whole,
    /// A room of it.
    Room(Arc<str>),
}

/// Hears when a place gets its first socket and when it loses its last.
pub trait Interest: Send + Sync {
    /// Somebody is there now, or nobody is any more, the other than before. The namespace is locked meanwhile, so this
    /// must be quick and ask it nothing.
    fn toggle(&self, place: Place);
}
