//! What stands between a guest and the machine: how much memory it gets and how long a call may take.

pub(crate) mod deadline;
pub(crate) mod limiter;

pub use deadline::{Clock, Deadline, Overrun};
pub use limiter::Limiter;
