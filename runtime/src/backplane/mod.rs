//! Where publications go: to the sockets of this node, and of the others when there are any.
//!
//! Whatever addresses more than one socket goes through here, even on a single node, so that there is one path and
//! not two.

mod local;

pub use local::Local;

use crate::hub::{Audience, Frame, Namespace};

/// Carries publications to the nodes that have members of the audience.
pub trait Backplane: Send + Sync {
    /// Sends a frame to an audience of a namespace. The sockets of this node are served before it returns. Returns how
    /// many of them were addressed.
    fn publish(&self, namespace: &Namespace, audience: Audience<'_>, frame: &Frame) -> u32;
}
