//! Settings on their way to a configuration: what a file and the environment say, over the defaults.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::given::{self, Whose};
use super::{Config, ConfigError, Flag, Source, ranges};

/// A configuration with the keys of the file.
fn to_table(config: &Config) -> Table {
    Table::try_from(config).expect("the default configuration is a table of plain values")
}

/// Settings on their way to a configuration: every known key, with what was last said of it.
pub(super) struct Settings {
    pub(super) table: Table,
    /// Who has said what, but for the file, of which more is known.
    pub(super) sources: BTreeMap<Vec<String>, Source>,
}

impl Settings {
    /// The defaults.
    pub(super) fn new() -> Self {
        Self {
            table: to_table(&Config::default()),
            sources: BTreeMap::new(),
        }
    }

    /// The configuration, or what does not fit.
    pub(super) fn check(&self) -> Result<Config, String> {
        if let Some(problem) = ranges::problem(&self.table) {
            return Err(problem);
        }
        let config = Value::Table(self.table.clone()).try_into();
        config.map_err(|error| error.message().to_owned())
    }

    /// Puts what a file says over the known settings. A key that is not among them is refused.
    pub(super) fn overlay(
        &mut self,
        said: Table,
        prefix: &str,
        origin: &str,
    ) -> Result<(), ConfigError> {
        for (key, value) in said {
            let path = format!("{prefix}{key}");
            if let Some(whose) = Whose::ALL.into_iter().find(|whose| whose.table() == path) {
                self.overlay_named(whose, value, origin)?;
                continue;
            }
            match (self.slot(&path), value) {
                (Some(Value::Table(_)), Value::Table(said)) => {
                    self.overlay(said, &format!("{path}."), origin)?;
                }
                (Some(_), value) => self.set(&path, value, origin)?,
                (None, _) => {
                    return Err(ConfigError::UnknownKey {
                        origin: origin.to_owned(),
                        nearest: nearest(&path, known()),
                        key: path,
                    });
                }
            }
        }
        Ok(())
    }

    /// Puts what a file says of single tenants or plugins, whose names are not known beforehand.
    fn overlay_named(
        &mut self,
        whose: Whose,
        said: Value,
        origin: &str,
    ) -> Result<(), ConfigError> {
        if let Value::Table(said) = &said {
            for (name, table) in said {
                given::check(whose, name, table, origin)?;
            }
        }
        self.set(whose.table(), said, origin)
    }

    /// Puts a variable of the environment over the setting it names; one that names none is somebody else's.
    pub(super) fn overlay_variable(
        &mut self,
        variable: &str,
        text: &str,
    ) -> Result<(), ConfigError> {
        let named =
            |path: &String| format!("TULPAR_{}", path.replace(['.', '-'], "_").to_uppercase());
        // Of what is always there: the names of tenants and plugins are not told apart in capitals.
        let Some(path) = names(&to_table(&Config::default()), "")
            .into_iter()
            .find(|path| named(path) == variable)
        else {
            return Ok(());
        };
        let text = text.to_owned();
        let value = match self.slot(&path) {
            Some(Value::Integer(_)) => text
                .parse()
                .map(Value::Integer)
                .unwrap_or(Value::String(text)),
            Some(Value::Boolean(_)) => text
                .parse()
                .map(Value::Boolean)
                .unwrap_or(Value::String(text)),
            // A list, without brackets and quotes.
            Some(Value::Array(_)) => {
                let members = text.split(',').map(str::trim);
                let members = members.filter(|member| !member.is_empty());
                Value::Array(members.map(Value::from).collect())
            }
            _ => Value::String(text),
        };
        self.set(&path, value, &format!("environment variable {variable}"))?;
        self.remember(&path, Source::Environment(variable.to_owned()));
        Ok(())
    }

    /// Puts what a flag says over everything else.
    pub(super) fn overlay_flag(&mut self, flag: &Flag) -> Result<(), ConfigError> {
        self.set(flag.setting, flag.value.clone(), flag.name)?;
        self.remember(flag.setting, Source::Flag(flag.name));
        Ok(())
    }

    fn remember(&mut self, path: &str, source: Source) {
        let parts = path.split('.').map(str::to_owned).collect();
        self.sources.insert(parts, source);
    }

    /// Sets one value, and checks at once that it fits, while it is known who said it.
    fn set(&mut self, path: &str, value: Value, origin: &str) -> Result<(), ConfigError> {
        let invalid = |reason: String| ConfigError::Invalid {
            origin: origin.to_owned(),
            reason,
        };
        if let Some(slot) = self.slot(path) {
            if !slot.same_type(&value) {
                let (is, wanted) = (value.type_str(), slot.type_str());
                return Err(invalid(format!(
                    "`{path}` is of type {is}; it must be of type {wanted}"
                )));
            }
            *slot = value;
        }
        match self.check() {
            Ok(_) => Ok(()),
            Err(reason) if reason.contains(path) => Err(invalid(reason)),
            Err(reason) => Err(invalid(format!("`{path}`: {reason}"))),
        }
    }

    fn slot(&mut self, path: &str) -> Option<&mut Value> {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        rest.into_iter()
            .flat_map(|rest| rest.split('.'))
            .try_fold(self.table.get_mut(first)?, |slot, part| slot.get_mut(part))
    }
}

/// A key, as one would write it.
pub(super) fn quoted(key: &str) -> String {
    let line = Table::from_iter([(key.to_owned(), Value::Boolean(true))]).to_string();
    line.trim_end_matches(" = true\n").to_owned()
}

/// The full names of all settings.
fn names(table: &Table, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in table {
        let full = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => found.extend(names(inner, &format!("{full}."))),
            _ => found.push(full),
        }
    }
    found
}

/// The names of all settings and tables, those for single tenants and plugins among them.
fn known() -> impl Iterator<Item = String> {
    let named = Whose::ALL.map(|whose| whose.table().to_owned());
    let defaults = to_table(&Config::default());
    let tables = defaults.iter().filter(|(_, value)| value.is_table());
    let tables: Vec<_> = tables.map(|(name, _)| name.clone()).collect();
    names(&defaults, "").into_iter().chain(tables).chain(named)
}

/// The one of the known keys that is most like `key`, when one is.
pub(super) fn nearest(key: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|path| {
            // A key in the wrong table is as near as one that is misspelt.
            let last = |k: &str| k.rsplit('.').next().unwrap_or_default().to_owned();
            let likeness = strsim::jaro_winkler(&path, key)
                .max(strsim::jaro_winkler(&last(&path), &last(key)));
            (likeness, path)
        })
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::super::{LimitOverrides, Limits, Quotas, SocketOverrides};
    use super::*;

    fn from_text(text: &str) -> Result<Config, ConfigError> {
        let mut settings = Settings::new();
        settings.overlay(toml::from_str(text).unwrap(), "", "test")?;
        Ok(settings.check().unwrap())
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let config = from_text("[limits]\ndeadline-ms = 7").unwrap();
        assert_eq!(config.limits.deadline_ms, 7);
        assert_eq!(config.limits.outbox_bytes, Limits::default().outbox_bytes);
    }

    #[test]
    fn a_key_is_quoted_when_it_has_to_be() {
        for key in ["with-_9", "acme/chat", "", "a b", "\"", "'\"", "a\nb", "ü"] {
            let said = quoted(key);
            assert_eq!(said.lines().count(), 1, "{said}");
            let read: Table = toml::from_str(&format!("{said} = 1")).unwrap();
            assert_eq!(read.keys().collect::<Vec<_>>(), [key]);
        }
        assert_eq!(quoted("with-_9"), "with-_9");
        assert_eq!(quoted("acme/chat"), r#""acme/chat""#);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        for (text, meant) in [
            ("lisen = 'x'", "listen"),
            ("[limts]\ndeadline-ms = 5", "limits"),
            ("[quota]", "quotas"),
            ("[limits]\ndeadline = 5", "limits.deadline-ms"),
            ("deadline-ms = 5", "limits.deadline-ms"),
            ("[quotas]\nconnection = 5", "quotas.connections"),
            ("[tenants.acme]", "tenant"),
            ("origins = []", "sockets.origins"),
            ("[tls]\ncert = ''", "tls.certificate"),
            ("[proxy]\ntrust = []", "proxy.trusted"),
            ("[timeouts]\nping = 5", "timeouts.ping-ms"),
        ] {
            match from_text(text) {
                Err(ConfigError::UnknownKey { nearest, .. }) => {
                    assert_eq!(nearest.as_deref(), Some(meant))
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        for text in [
            "listen = 3",
            "limits = 3",
            "dev = 'yes'",
            "listen = {}",
            "tenant = 3",
            "plugin = 'x'",
            "tls = true",
            "[proxy]\ntrusted = '::1'",
            "[proxy]\ntrusted = [1]",
            "[sockets]\norigins = [1]",
            "[sockets]\ncompression = 1",
            "[quotas]\nrooms = 'many'",
        ] {
            assert!(
                matches!(from_text(text), Err(ConfigError::Invalid { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let said =
            |key: &str, value: &str| Config::load(None, [(key.to_owned(), value.to_owned())]);
        assert_eq!(
            said("TULPAR_LIMITS_DEADLINE_MS", "9")
                .unwrap()
                .limits
                .deadline_ms,
            9
        );
        assert!(said("TULPAR_DEV", "true").unwrap().dev);
        assert_eq!(
            said("TULPAR_QUOTAS_CONNECTIONS", "9").unwrap().quotas,
            Quotas {
                connections: Some(9),
                ..Quotas::of_a_tenant()
            }
        );
        assert!(said("TULPAR_QUOTAS_WEIGHT", "10000").is_ok());
        assert!(said("TULPAR_QUOTAS_WEIGHT", "10001").is_err());
        assert_eq!(said("TULPAR_ADMIN_SOCKET", "").unwrap().admin.unix(), None);
        let token = said("TULPAR_ADMIN_TOKEN", "0123456789abcdef").unwrap();
        assert_eq!(token.admin.token.text(), Some("0123456789abcdef"));
        assert!(said("TULPAR_LIMITS_DEADLINE_MS", "soon").is_err());
        let proxy = said("TULPAR_PROXY_TRUSTED", "10.0.0.1, ::1,")
            .unwrap()
            .proxy;
        assert_eq!(proxy.trusted.len(), 2);
        assert!(proxy.trusts("::1".parse().unwrap()));
        assert!(
            said("TULPAR_PROXY_TRUSTED", "")
                .unwrap()
                .proxy
                .trusted
                .is_empty()
        );
        assert!(said("TULPAR_PROXY_TRUSTED", "10.0.0.1 ::1").is_err());
        assert!(said("TULPAR_SOCKETS_ORIGINS", "https://a,null").is_ok());
        assert_eq!(
            said("TULPAR_SOMETHING_ELSE", "9").unwrap(),
            Config::default()
        );
    }

    #[test]
    fn the_environment_does_not_reach_single_tenants_and_plugins() {
        let text = "[tenant.acme.limits]\ndeadline-ms = 7\n[plugin.x.config]\na = 'b'";
        let said = from_text(text).unwrap();
        let mut settings = Settings::new();
        settings
            .overlay(toml::from_str(text).unwrap(), "", "test")
            .unwrap();
        for variable in [
            "TENANT_ACME_LIMITS_DEADLINE_MS",
            "PLUGIN_X_CONFIG_A",
            "TENANT",
        ] {
            let variable = format!("TULPAR_{variable}");
            settings.overlay_variable(&variable, "9").unwrap();
        }
        assert_eq!(settings.check().unwrap(), said);
    }

    #[test]
    fn a_range_holds_at_its_ends() {
        let deadline = |ms: i64| {
            Config::load(
                None,
                [("TULPAR_LIMITS_DEADLINE_MS".to_owned(), ms.to_string())],
            )
        };
        assert!(deadline(0).is_err());
        assert!(deadline(1).is_ok());
        assert!(deadline(60_000).is_ok());
        assert!(deadline(60_001).is_err());
        assert!(deadline(-1).is_err());
    }

    #[test]
    fn the_example_file_names_every_setting_with_its_default() {
        let example = include_str!("../../tulpar.toml");
        let settings: String = example
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .map(|line| format!("{line}\n"))
            .collect();
        let said: Table = toml::from_str(&settings).unwrap();
        assert_eq!(said, to_table(&Config::default()));
    }

    #[test]
    fn the_tables_for_tenants_and_plugins_in_the_example_file_are_accepted() {
        let example = include_str!("../../tulpar.toml");
        let named = example.lines().skip_while(|line| *line != "#[tenant]");
        let shown = |line: &&str| {
            let words = [
                "[tenant.",
                "[plugin.",
                "hosts = ",
                "config = ",
                "quotas = ",
                "limits = ",
                "sockets = ",
            ];
            words.iter().any(|word| line.starts_with(word))
        };
        let said: String = named
            .filter_map(|line| line.strip_prefix("# ").filter(shown))
            // A table's other name is beside it.
            .map(|line| format!("{}\n", line.split("  ").next().unwrap_or_default()))
            .collect();
        let config = from_text(&said).unwrap();
        for given in config.tenant.values().chain(config.plugin.values()) {
            assert!(
                given.hosts.is_some() && !given.config.is_empty(),
                "{given:?}"
            );
            assert_ne!(given.limits, LimitOverrides::default());
            assert_ne!(given.sockets, SocketOverrides::default());
            assert_ne!(given.quotas, Quotas::default());
        }
        assert_eq!((config.tenant.len(), config.plugin.len()), (1, 1));
    }
}
