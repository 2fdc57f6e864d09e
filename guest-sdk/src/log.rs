//! Lines for the operator's log. They carry the plugin's name; a message over 8 KiB is cut.
//!
//! ```no_run
//! # let id = "";
//! tulpar::log::info(format!("client connected: {id}"));
//! ```

use crate::bindings::imports::tulpar::plugin::log::{Level, log};

/// A line for whoever follows a single event through the code.
pub fn trace(message: impl AsRef<str>) {
    log(Level::Trace, message.as_ref());
}

/// A line for whoever looks for a fault.
pub fn debug(message: impl AsRef<str>) {
    log(Level::Debug, message.as_ref());
}

/// A line about the normal course of things.
pub fn info(message: impl AsRef<str>) {
    log(Level::Info, message.as_ref());
}

/// A line about something the operator should look at.
pub fn warn(message: impl AsRef<str>) {
    log(Level::Warn, message.as_ref());
}

/// A line about something that failed.
pub fn error(message: impl AsRef<str>) {
    log(Level::Error, message.as_ref());
}
