//! What a plugin writes to the log, and what is written about it: not more than its tenant may.

use std::sync::atomic::{AtomicU64, Ordering};

use super::host::one_line;
use crate::ids::PluginId;
use crate::quota::{Account, Spent};

/// The log of one plugin.
#[derive(Debug)]
pub struct PluginLog {
    plugin: PluginId,
    account: Account,
    /// Lines that were left out since the last one.
    left_out: AtomicU64,
}

impl PluginLog {
    pub(super) fn new(plugin: PluginId, account: Account) -> Self {
        Self {
            plugin,
            account,
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether one more line may be written, which is counted. Before the first one after some that were left out, it is
    /// said how many these were.
    pub fn may_write(&self) -> bool {
        if self.account.spend_one(Spent::LogLines).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::warn!(
                plugin = %self.plugin,
                "{left_out} lines left out (quotas.log-lines-per-second)"
            );
        }
        true
    }

    /// Writes one line of the plugin's own.
    pub(super) fn write(&self, level: tracing::Level, line: &str) {
        /// The level of the log has to be known when this is compiled.
        macro_rules! write {
            ($level:ident) => {
                if tracing::enabled!(target: "plugin", tracing::Level::$level) && self.may_write() {
                    let line = one_line(line);
                    tracing::event!(
                        target: "plugin", tracing::Level::$level, plugin = %self.plugin, "{line}"
                    );
                }
            };
        }
        match level {
            tracing::Level::TRACE => write!(TRACE),
            tracing::Level::DEBUG => write!(DEBUG),
            tracing::Level::INFO => write!(INFO),
            tracing::Level::WARN => write!(WARN),
            tracing::Level::ERROR => write!(ERROR),
        }
    }
}
