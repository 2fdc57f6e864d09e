//! What stands between a guest and the machine: how much memory it gets and how long a call may take.

pub(crate) mod deadline;
mod host_calls;
pub(crate) mod limiter;
pub(super) mod slices;

pub use deadline::{Clock, Deadline, Overrun};
pub use host_calls::HostCalls;
pub use limiter::Limiter;
