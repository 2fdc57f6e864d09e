//! What the operator gives to a single plugin: `[plugin.NAME]` in the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::ConfigError;

/// The settings that there are, for the message about one that is not.
const KNOWN: [&str; 2] = ["hosts", "config"];
/// The longest key or value of a plugin's configuration, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// What one plugin is given. Nothing unless it is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PluginSettings {
    /// The hosts that it may send HTTP requests to.
    pub hosts: Vec<HostPattern>,
    /// What it reads through `wasi:config`.
    pub config: BTreeMap<String, ConfigValue>,
}

impl PluginSettings {
    /// Fetches the values that stand elsewhere, in variables of the environment and in files.
    pub(super) fn resolve(
        &mut self,
        name: &str,
        environment: &[(String, String)],
    ) -> Result<(), String> {
        for (key, value) in &mut self.config {
            let wrong = |why: String| format!("`plugin.{name}.config.{key}`: {why}");
            let found = match &*value {
                ConfigValue::Text(text) => text.clone(),
                ConfigValue::Variable { env } => environment
                    .iter()
                    .find(|(variable, _)| variable == env)
                    .map(|(_, text)| text.clone())
                    .ok_or_else(|| wrong(format!("the environment has no variable {env}")))?,
                // The newline at the end is the editor's.
                ConfigValue::File { file } => std::fs::read_to_string(file)
                    .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                    .map_err(|error| wrong(format!("cannot read {}: {error}", file.display())))?,
            };
            if key.len().max(found.len()) > MAX_VALUE {
                return Err(wrong(format!("it is over {MAX_VALUE} bytes")));
            }
            *value = ConfigValue::Text(found);
        }
        Ok(())
    }
}

/// Refuses a key that is not known, and names the nearest that is.
pub(super) fn check_keys(name: &str, settings: &Value, origin: &str) -> Result<(), ConfigError> {
    let settings = settings.as_table();
    // Here and not where the values are read, whose messages would show them.
    let is_other = |key: &str, type_name: &str| {
        settings
            .and_then(|settings| settings.get(key))
            .is_some_and(|value| value.type_str() != type_name)
    };
    if is_other("hosts", "array") || is_other("config", "table") || settings.is_none() {
        return Err(ConfigError::Invalid {
            origin: origin.to_owned(),
            reason: format!(
                "`plugin.{name}` is a table with `hosts`, a list of texts, and `config`, a table of values"
            ),
        });
    }
    let keys = settings.into_iter().flat_map(|table| table.keys());
    for key in keys {
        if !KNOWN.contains(&key.as_str()) {
            let nearest = KNOWN
                .iter()
                .max_by(|a, b| {
                    strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key))
                })
                .filter(|known| strsim::jaro_winkler(known, key) > 0.7);
            return Err(ConfigError::UnknownKey {
                origin: origin.to_owned(),
                key: format!("plugin.{name}.{key}"),
                nearest: nearest.map(|known| format!("plugin.{name}.{known}")),
            });
        }
    }
    Ok(())
}

/// A value of a plugin's configuration: as it stands, or where it is to be found. It may be a secret, and is not shown.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a value under a plugin's `config` is a text, { env = \"VARIABLE\" } or { file = \"PATH\" }"
)]
pub enum ConfigValue {
    /// As it stands.
    Text(String),
    /// In a variable of the environment.
    Variable {
        /// Its name.
        env: String,
    },
    /// In a file, whose newline at the end does not count.
    File {
        /// Where it is.
        file: PathBuf,
    },
}

impl ConfigValue {
    /// The value; empty before it is resolved.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Variable { .. } | Self::File { .. } => "",
        }
    }
}

impl fmt::Debug for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// The hosts of a grant: `api.example.com`, `api.example.com:8443`, `*.example.com` or an IP address. Without a port it
/// is the scheme's own, 80 or 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    /// Lower case; an IPv6 address in brackets.
    host: String,
    /// Whether it is what is below `host`, and not `host` itself.
    below: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// Whether a request to that host goes where the grant allows. `default_port` is the scheme's.
    #[must_use]
    pub fn allows(&self, host: &str, port: Option<u16>, default_port: u16) -> bool {
        // A name that ends in a dot is the same one, said in full.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let right_host = match self.below {
            true => host
                .strip_suffix(&self.host)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => host == self.host,
        };
        right_host && port.unwrap_or(default_port) == self.port.unwrap_or(default_port)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // What is before an `@` would be a password.
        let shown = text.rsplit('@').next().unwrap_or_default();
        let wrong = |why: &str| {
            Err(format!(
                "{shown:?} in `hosts` {why}; write a host such as \"api.example.com\", \"api.example.com:8443\" or \
                 \"*.example.com\""
            ))
        };
        if text.contains("://") || text.contains(['/', '?', '#', '@']) {
            return wrong("is more than a host and a port");
        }
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        // An IPv6 address is in brackets, and its colons are its own.
        let split = match rest.rfind(']') {
            Some(end) if rest.starts_with('[') => rest[end + 1..]
                .strip_prefix(':')
                .map(|port| (&rest[..=end], port)),
            _ => rest.rsplit_once(':'),
        };
        let (host, port) = split.map_or((rest, None), |(host, port)| (host, Some(port)));
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return wrong("has a port that is not 1 to 65535"),
        };
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let name = host.len() <= 253
            && host.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if !(name || address && !below) {
            return wrong("names no host");
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            below,
            port,
        })
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        let below = if pattern.below { "*." } else { "" };
        let port = pattern.port.map(|port| format!(":{port}"));
        format!("{below}{}{}", pattern.host, port.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<HostPattern, String> {
        HostPattern::try_from(text.to_owned())
    }

    #[test]
    fn a_grant_that_names_no_host_is_refused() {
        for bad in [
            "",
            "*",
            "*.",
            ".",
            "a..b",
            "https://a.b",
            "a/b",
            "a:0",
            "a:65536",
            "a:x",
            ":80",
            "a b",
            "*.*.b",
            "u@a",
            "[::1",
            "*.[::1]",
            "a*",
        ] {
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
        for good in [
            "a",
            "a.b:1",
            "*.b",
            "127.0.0.1:65535",
            "[::1]:80",
            "[::1]",
            "xn--a",
        ] {
            assert_eq!(String::from(pattern(good).unwrap()), good);
        }
    }

    #[test]
    fn a_grant_allows_what_it_names_and_nothing_else() {
        let allows =
            |grant: &str, host: &str, port| pattern(grant).unwrap().allows(host, port, 443);
        assert!(allows("API.example.com", "api.EXAMPLE.com", None));
        assert!(allows("api.example.com", "api.example.com", Some(443)));
        assert!(!allows("api.example.com", "api.example.com", Some(8443)));
        assert!(allows(
            "api.example.com:8443",
            "api.example.com",
            Some(8443)
        ));
        assert!(!allows("api.example.com:8443", "api.example.com", None));
        assert!(allows("*.example.com", "a.b.example.com", None));
        for other in [
            "example.com",
            ".example.com",
            "badexample.com",
            "example.com.evil.org",
        ] {
            assert!(!allows("*.example.com", other, None), "{other}");
        }
        assert!(allows("example.com", "example.com.", None));
        assert!(!allows("example.com", "a.example.com", None));
        assert!(allows("[::1]:80", "[::1]", Some(80)));
    }

    #[test]
    fn values_come_from_where_they_are_said_to_and_are_not_shown() {
        let text = "config = { a = 'as it is', b = { env = 'B' } }";
        let mut settings: PluginSettings = toml::from_str(text).unwrap();
        let missing = settings.clone().resolve("x", &[]).unwrap_err();
        assert_eq!(
            missing,
            "`plugin.x.config.b`: the environment has no variable B"
        );
        settings
            .resolve("x", &[("B".into(), "secret".into())])
            .unwrap();
        assert_eq!(settings.config["a"].text(), "as it is");
        assert_eq!(settings.config["b"].text(), "secret");
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
