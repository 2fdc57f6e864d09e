//! The configuration that holds, and how it becomes another while the server runs.
//!
//! Who needs a setting anew each time asks [`Live`] for it each time. What is made of settings when the server starts, as
//! its address and the pool for instances, stays as it is: [`AT_START`] names these settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use toml::{Table, Value};

use super::{Config, Given};

/// The configuration that holds. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Config>>);

/// Settings of which nobody takes note while the server runs, as they stand in a file; a table stands for all in it. What
/// is said of single tenants and plugins is reloaded but for their quotas.
const AT_START: [&str; 29] = [
    "admin",
    "backplane",
    "cache",
    "limits.cache-bytes",
    "limits.compile-memory-bytes",
    "limits.compile-ms",
    "limits.instance-memory-bytes",
    "limits.instances",
    "limits.quarantine-failures",
    "limits.receiving-bytes",
    "limits.store-bytes",
    "limits.store-value-bytes",
    "limits.unsent-bytes",
    "listen",
    "plugins",
    "proxy.protocol",
    "quotas",
    "state",
    "store",
    "telemetry",
    "timeouts.ping-ms",
    "timeouts.pong-ms",
    "timeouts.quarantine-max-ms",
    "timeouts.quarantine-ms",
    "timeouts.settle-ms",
    "timeouts.start-ms",
    "tls.certificate",
    "tls.key",
    "ulak",
];

/// Settings that hold from the next connection, request or call on. Each setting is here or above.
#[cfg(test)]
const RELOADED: [&str; 35] = [
    "dev",
    "limits.bulk-operations",
    "limits.compute-ms",
    "limits.connections",
    "limits.connections-per-address",
    "limits.deadline-ms",
    "limits.handles",
    "limits.host-calls",
    "limits.job-deadline-ms",
    "limits.max-message-bytes",
    "limits.max-plugin-bytes",
    "limits.outbox-bytes",
    "limits.outgoing-requests",
    "limits.request-body-bytes",
    "limits.request-deadline-ms",
    "limits.request-head-bytes",
    "limits.request-headers",
    "limits.requests",
    "limits.response-body-bytes",
    "limits.rooms-per-namespace",
    "limits.rooms-per-socket",
    "limits.socket-messages-per-second",
    "proxy.trusted",
    "sockets.compression",
    "sockets.compression-context-takeover",
    "sockets.compression-ratio",
    "sockets.compression-threshold",
    "sockets.compression-window-bits",
    "sockets.origins",
    "sockets.slow-consumer",
    "timeouts.close-ms",
    "timeouts.drain-ms",
    "timeouts.grace-ms",
    "timeouts.handshake-ms",
    "timeouts.unready-ms",
];

impl From<&Config> for Live {
    fn from(config: &Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config.clone())))
    }
}

impl From<&Live> for Live {
    fn from(live: &Live) -> Self {
        live.clone()
    }
}

impl Live {
    /// The configuration as it is now. Not to be kept over an await.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.0.load()
    }

    /// The same, to be kept: it stays as it is.
    #[must_use]
    pub fn load_full(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// Has another configuration hold from now on, as far as that is possible. Returns the settings that are others in it
    /// and stay as they are until the server starts again.
    ///
    /// # Errors
    /// What would hold then does not go together; what held before holds on.
    pub fn replace(&self, new: Config) -> Result<Vec<String>, String> {
        let (config, left) = self.load().reloaded(new)?;
        self.0.store(Arc::new(config));
        Ok(left)
    }
}

impl Config {
    /// `new`, with what only a start changes as it is here, and which settings these are.
    fn reloaded(&self, mut new: Self) -> Result<(Self, Vec<String>), String> {
        let mut left = Vec::new();
        for (whose, before, after) in [
            ("tenant", &self.tenant, &mut new.tenant),
            ("plugin", &self.plugin, &mut new.plugin),
        ] {
            let said = keep_quotas(before, after).into_iter();
            left.extend(said.map(|name| format!("{whose}.{name:?}.quotas")));
        }
        let broken = |error: toml::ser::Error| error.to_string();
        let before = Value::Table(Table::try_from(self).map_err(broken)?);
        let mut after = Value::Table(Table::try_from(&new).map_err(broken)?);
        for setting in AT_START {
            let mut parts = setting.split('.');
            let (Some(was), Some(is)) = (
                parts
                    .clone()
                    .try_fold(&before, |value, part| value.get(part)),
                parts.try_fold(&mut after, |value, part| value.get_mut(part)),
            ) else {
                continue;
            };
            if is != was {
                left.push(setting.to_owned());
                is.clone_from(was);
            }
        }
        let config: Self = after
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        match config.conflict() {
            None => Ok((config, left)),
            Some(conflict) => Err(format!(
                "{conflict} (as long as the server is not started again, which would change: {})",
                match left.is_empty() {
                    true => "nothing".to_owned(),
                    false => left.join(", "),
                }
            )),
        }
    }
}

/// Has all of them have the quotas that they had before. Returns the names of those for whom that is not what is said.
fn keep_quotas(
    before: &BTreeMap<String, Given>,
    after: &mut BTreeMap<String, Given>,
) -> Vec<String> {
    let mut left = Vec::new();
    for (name, given) in before {
        if given.quotas != after.entry(name.clone()).or_default().quotas {
            left.push(name.clone());
        }
    }
    for (name, given) in after {
        let quotas = before
            .get(name)
            .map(|given| given.quotas)
            .unwrap_or_default();
        if given.quotas != quotas && !left.contains(name) {
            left.push(name.clone());
        }
        given.quotas = quotas;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;
    use super::*;

    /// All settings by their full names.
    fn names(table: &Table, prefix: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (key, value) in table {
            match value {
                Value::Table(inner) => found.extend(names(inner, &format!("{prefix}{key}."))),
                _ => found.push(format!("{prefix}{key}")),
            }
        }
        found
    }

    #[test]
    fn each_setting_is_either_reloaded_or_taken_at_the_start() {
        let all = names(&Table::try_from(Config::default()).unwrap(), "");
        let stands_for = |listed: &str, name: &str| {
            name == listed
                || name
                    .strip_prefix(listed)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        for name in &all {
            let listed = AT_START.iter().chain(&RELOADED);
            let places = listed.filter(|it| stands_for(it, name)).count();
            assert_eq!(places, 1, "{name}");
        }
        for listed in AT_START.iter().chain(&RELOADED) {
            assert!(all.iter().any(|name| stands_for(listed, name)), "{listed}");
        }
    }

    fn replaced(before: &str, after: &str) -> Result<(Config, Vec<String>), String> {
        let live = Live::from(&from_text(before).unwrap());
        let left = live.replace(from_text(after).unwrap())?;
        let config = live.load().as_ref().clone();
        Ok((config, left))
    }

    #[test]
    fn what_can_change_does_and_the_rest_is_named() {
        let (config, left) = replaced(
            "listen = '127.0.0.1:1'\n[limits]\nhandles = 1",
            "listen = '127.0.0.1:2'\n[limits]\nhandles = 2\ninstances = 3\n[proxy]\ntrusted = ['::1']",
        )
        .unwrap();
        assert_eq!(left, ["limits.instances", "listen"]);
        assert_eq!(config.listen.to_string(), "127.0.0.1:1");
        assert_eq!(config.limits.handles, 2);
        assert!(config.proxy.trusts("::1".parse().unwrap()));
    }

    #[test]
    fn of_a_plugin_all_but_its_quotas_can_change() {
        let (config, left) = replaced(
            "[plugin.a.quotas]\nrooms = 1\n[plugin.gone.quotas]\nrooms = 1\n[plugin.gone.config]\nx = 'y'",
            "[plugin.a]\nhosts = ['h']\nquotas = { rooms = 2 }\n[tenant.new.quotas]\nrooms = 3",
        )
        .unwrap();
        assert_eq!(
            left,
            [
                r#"tenant."new".quotas"#,
                r#"plugin."a".quotas"#,
                r#"plugin."gone".quotas"#
            ]
        );
        assert_eq!(config.plugin["a"].quotas.rooms, Some(1));
        assert_eq!(config.terms(None, "a").hosts.len(), 1);
        assert!(config.plugin["gone"].config.is_empty());
        assert_eq!(config.tenant_quotas(Some("new")), config.quotas);
    }

    #[test]
    fn what_would_not_go_together_with_what_stays_is_refused_whole() {
        let refused = replaced(
            "",
            "[limits]\ninstance-memory-bytes = 134217728\n[plugin.a.limits]\ninstance-memory-bytes = 134217728",
        );
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("plugin.a.limits.instance-memory-bytes"),
            "{refused}"
        );
        assert!(
            refused.contains("limits.instance-memory-bytes)"),
            "{refused}"
        );
    }
}
