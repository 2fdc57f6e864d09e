//! What the configuration gives to a plugin, and how it becomes other while the plugin serves.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Plugin;
use crate::config::{LimitOverrides, PluginSettings};

/// What the configuration gives to a plugin.
pub(super) struct Terms {
    pub(super) settings: Arc<PluginSettings>,
    /// How many requests its controller can take on at the moment.
    pub(super) requests: Arc<Semaphore>,
    /// How many more requests to other hosts it may have under way.
    pub(super) outgoing: Arc<Semaphore>,
}

impl Terms {
    pub(super) fn new(settings: PluginSettings) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(settings.limits.requests)),
            outgoing: Arc::new(Semaphore::new(settings.limits.outgoing_requests)),
            settings: Arc::new(settings),
        }
    }

    /// Others in the place of these. What is in hand counts on, but where that number is another.
    fn renewed(&self, settings: PluginSettings) -> Self {
        let (old, new) = (&self.settings.limits, &settings.limits);
        let (requests, outgoing) = (
            old.requests == new.requests,
            old.outgoing_requests == new.outgoing_requests,
        );
        let mut renewed = Self::new(settings);
        if requests {
            renewed.requests = self.requests.clone();
        }
        if outgoing {
            renewed.outgoing = self.outgoing.clone();
        }
        renewed
    }
}

impl Plugin {
    /// Takes what the configuration gives to it now, but for quotas. Returns whether an instance that is there should give
    /// way to another: it has its hosts, its values and its limits from when it began.
    pub fn renew_terms(&self) -> bool {
        let new = self.shared.config.load();
        let new = new.terms(self.id.tenant.as_deref(), &self.id.key());
        let terms = self.terms.load();
        let old = &terms.settings;
        if **old == new {
            return false;
        }
        let in_instances = (&old.hosts, &old.config) != (&new.hosts, &new.config)
            || LimitOverrides::of(&old.limits) != LimitOverrides::of(&new.limits);
        if let Some(sockets) = &self.generation().namespace {
            sockets.set_limits(&new.limits);
        }
        self.terms.store(Arc::new(terms.renewed(new)));
        in_instances
    }
}
