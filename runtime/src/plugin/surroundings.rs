//! What plugins find around them: what is the machine's for a server, and made up for a test of a plugin.

use std::sync::Arc;

use super::compile::Compiler;
use super::network::{Internet, Network};
use crate::backplane::{Backplane, Local};
use crate::clock::{Clock, MachineClock};
use crate::config::Limits;
use crate::nats::Nats;

/// What plugins find around them.
pub struct Surroundings {
    /// Makes code of them.
    pub compiler: Compiler,
    /// What time it is for them.
    pub clock: Arc<dyn Clock>,
    /// Carries what they publish.
    pub backplane: Arc<dyn Backplane>,
    /// What this node shares with others; none when it stands alone.
    pub nats: Option<Nats>,
    /// Carries their requests to other hosts.
    pub network: Arc<dyn Network>,
}

impl Surroundings {
    /// This machine's, and no other node.
    #[must_use]
    pub fn of_this_machine(limits: &Limits) -> Self {
        Self {
            compiler: Compiler::in_child(limits),
            clock: Arc::new(MachineClock),
            backplane: Arc::new(Local),
            nats: None,
            network: Arc::new(Internet::default()),
        }
    }
}
