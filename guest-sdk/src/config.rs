//! What the operator has configured for the plugin: its `config` in `tulpar.toml`.
//!
//! ```toml
//! [plugin.greeter]
//! config = { greeting = "hello", token = { env = "GREETER_TOKEN" } }
//! ```
//!
//! ```no_run
//! # fn example() -> tulpar::Result<()> {
//! use tulpar::config;
//!
//! let greeting = config::get("greeting")?.unwrap_or_else(|| "hello".into());
//! let token = config::require("token")?;
//! # Ok(()) }
//! ```
//!
//! Values are texts, and may be secrets: do not log them.

use crate::bindings::imports::wasi::config::store;
use crate::error::{Error, Result};

/// The value of that key; none when the operator has not set it.
///
/// # Errors
/// When the server cannot read its configuration.
pub fn get(key: &str) -> Result<Option<String>> {
    let value = store::get(key).map_err(unreadable);
    value.map_err(|error| error.context(format_args!("cannot read the setting `{key}`")))
}

/// The value of that key, which has to be there.
///
/// # Errors
/// When the operator has not set it, in words that say where it belongs; or the server cannot read its
/// configuration.
pub fn require(key: &str) -> Result<String> {
    get(key)?.ok_or_else(|| missing(key))
}

/// All keys and their values.
///
/// # Errors
/// When the server cannot read its configuration.
pub fn all() -> Result<Vec<(String, String)>> {
    let settings = store::get_all().map_err(unreadable);
    settings.map_err(|error| error.context("cannot read the settings"))
}

fn missing(key: &str) -> Error {
    Error::msg(format_args!(
        "the setting `{key}` is missing: add it to the plugin's `config` in tulpar.toml"
    ))
}

fn unreadable(error: store::Error) -> Error {
    match error {
        store::Error::Upstream(message) | store::Error::Io(message) => Error::msg(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_setting_says_where_it_belongs() {
        assert_eq!(
            missing("token").to_string(),
            "the setting `token` is missing: add it to the plugin's `config` in tulpar.toml"
        );
    }

    #[test]
    fn the_hosts_words_are_kept() {
        let error = unreadable(store::Error::Io("no such file".into()));
        assert_eq!(error.to_string(), "no such file");
    }
}
