//! `tulpar:plugin/log`.

use tracing::Level;
use wasmtime::Result;

use super::super::bindings::tulpar::plugin::log::{Host, Level as GuestLevel};
use super::HostState;

impl Host for HostState {
    fn log(&mut self, level: GuestLevel, message: String) -> Result<()> {
        let level = match level {
            GuestLevel::Trace => Level::TRACE,
            GuestLevel::Debug => Level::DEBUG,
            GuestLevel::Info => Level::INFO,
            GuestLevel::Warn => Level::WARN,
            GuestLevel::Error => Level::ERROR,
        };
        self.log.write(level, &message);
        Ok(())
    }
}
