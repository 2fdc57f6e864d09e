//! What a plugin gets in the end, from its own table, its tenant's and those for all; and the values of its
//! configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, HostPattern, Limits, Quotas, ROOT, Sockets};

/// The longest key or value of a plugin's configuration, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// What holds for one plugin: what is said of it, over what is said of its tenant, over what holds for all.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSettings {
    /// The hosts that it may send HTTP requests to: its own list when it has one, else its tenant's, else none.
    pub hosts: Vec<HostPattern>,
    /// What it reads through `wasi:config`: its own keys and those of its tenant that it does not have itself.
    pub config: BTreeMap<String, ConfigValue>,
    /// What it may use at most. The limits that are not for single plugins are those of `[limits]`.
    pub limits: Limits,
    /// How its namespace treats its sockets.
    pub sockets: Sockets,
    /// What it may use beside the bounds of its tenant, which hold as well. It has no weight.
    pub quotas: Quotas,
}

impl Config {
    /// What holds for a plugin. `tenant` is none for a plugin of the root folder; `key` is its `NAME`, behind `TENANT/`
    /// for a tenant's. A tenant and a plugin that the file says nothing of have what holds for all.
    #[must_use]
    pub fn terms(&self, tenant: Option<&str>, key: &str) -> PluginSettings {
        let tenant = self.tenant.get(tenant.unwrap_or(ROOT));
        let plugin = self.plugin.get(key);
        // The nearest last: what it says goes over what is there.
        let mut settings = PluginSettings {
            hosts: Vec::new(),
            config: BTreeMap::new(),
            limits: self.limits.clone(),
            sockets: self.sockets.clone(),
            quotas: plugin.map(|own| own.quotas).unwrap_or_default(),
        };
        for given in [tenant, plugin].into_iter().flatten() {
            settings.limits = given.limits.over(&settings.limits);
            settings.sockets = given.sockets.over(&settings.sockets);
            settings.config.extend(given.config.clone());
            if let Some(hosts) = &given.hosts {
                settings.hosts.clone_from(hosts);
            }
        }
        settings
    }

    /// How large the messages of any plugin may be.
    #[must_use]
    pub fn largest_message_bytes(&self) -> usize {
        let given = self.tenant.values().chain(self.plugin.values());
        let own = given.filter_map(|it| it.limits.max_message_bytes);
        own.fold(self.limits.max_message_bytes, usize::max)
    }

    /// What all plugins of a tenant may use together: what `[tenant.NAME.quotas]` says, over `[quotas]`. `[quotas]` is
    /// not for the root folder, whose `tenant` is none: what is not said of it has no bound.
    #[must_use]
    pub fn tenant_quotas(&self, tenant: Option<&str>) -> Quotas {
        let name = tenant.unwrap_or(ROOT);
        let said = self.tenant.get(name);
        let said = said.map(|given| given.quotas).unwrap_or_default();
        match name {
            ROOT => said,
            _ => said.over(&self.quotas),
        }
    }
}

/// Fetches the values that stand elsewhere, in variables of the environment and in files. `path` is the table's.
pub(super) fn resolve(
    config: &mut BTreeMap<String, ConfigValue>,
    path: &str,
    environment: &[(String, String)],
) -> Result<(), String> {
    for (key, value) in config {
        let wrong = |why: String| format!("`{path}.{key}`: {why}");
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::from_text;
    use super::*;

    fn hosts(settings: &PluginSettings) -> Vec<String> {
        settings.hosts.iter().cloned().map(String::from).collect()
    }

    fn values(settings: &PluginSettings) -> Vec<(&str, &str)> {
        let values = settings.config.iter();
        values
            .map(|(key, value)| (key.as_str(), value.text()))
            .collect()
    }

    #[test]
    fn a_limit_is_the_plugins_else_the_tenants_else_the_one_for_all() {
        let config = from_text(
            "[limits]\ndeadline-ms = 1\nhandles = 1\nrequests = 1\noutbox-bytes = 1\n\
             [tenant.acme.limits]\ndeadline-ms = 2\nhandles = 2\n\
             [tenant.'@root'.limits]\ndeadline-ms = 4\n\
             [plugin.'acme/chat'.limits]\ndeadline-ms = 3\n\
             [plugin.chat.limits]\nhandles = 5",
        )
        .unwrap();
        for (tenant, key, deadline_ms, handles) in [
            (Some("acme"), "acme/chat", 3, 2),
            (Some("acme"), "acme/other", 2, 2),
            (Some("other"), "other/chat", 1, 1),
            (None, "chat", 4, 5),
            (None, "other", 4, 1),
        ] {
            let expected = Limits {
                deadline_ms,
                handles,
                ..config.limits.clone()
            };
            assert_eq!(config.terms(tenant, key).limits, expected, "{key}");
        }
    }

    #[test]
    fn how_sockets_are_treated_is_the_plugins_else_the_tenants_else_as_for_all() {
        let config = from_text(
            "[sockets]\norigins = ['https://all']\ncompression-ratio = 1\nslow-consumer = 'drop-oldest'\n\
             [tenant.acme.sockets]\norigins = ['https://acme']\ncompression = true\ncompression-ratio = 2\n\
             [plugin.'acme/chat'.sockets]\norigins = []\ncompression-ratio = 3\n\
             [plugin.chat]\nsockets = { compression = true }",
        )
        .unwrap();
        for (tenant, key, origin, compression, ratio) in [
            (Some("acme"), "acme/chat", "", true, 3),
            (Some("acme"), "acme/other", "https://acme", true, 2),
            (Some("other"), "other/chat", "https://all", false, 1),
            (None, "chat", "https://all", true, 1),
            (None, "other", "https://all", false, 1),
        ] {
            let sockets = config.terms(tenant, key).sockets;
            for known in ["https://all", "https://acme"] {
                assert_eq!(
                    sockets.origins.allows(known, None),
                    known == origin,
                    "{key}"
                );
            }
            let expected = Sockets {
                origins: sockets.origins.clone(),
                compression,
                compression_ratio: ratio,
                ..config.sockets.clone()
            };
            assert_eq!(sockets, expected, "{key}");
        }
    }

    #[test]
    fn a_list_of_hosts_replaces_the_tenants_even_when_it_is_empty() {
        let config = from_text(
            "[tenant.acme]\nhosts = ['a', 'b']\n[tenant.'@root']\nhosts = ['r']\n\
             [plugin.'acme/own']\nhosts = ['c']\n[plugin.'acme/none']\nhosts = []\n\
             [plugin.'acme/silent'.config]\nx = 'y'",
        )
        .unwrap();
        for (tenant, key, expected) in [
            (Some("acme"), "acme/own", &["c"][..]),
            (Some("acme"), "acme/none", &[]),
            (Some("acme"), "acme/silent", &["a", "b"]),
            (Some("acme"), "acme/unnamed", &["a", "b"]),
            (Some("other"), "other/own", &[]),
            (None, "own", &["r"]),
        ] {
            assert_eq!(hosts(&config.terms(tenant, key)), expected, "{key}");
        }
    }

    #[test]
    fn a_value_is_the_plugins_else_the_tenants() {
        let config = from_text(
            "[tenant.acme.config]\na = 'tenant'\nb = 'tenant'\n\
             [plugin.'acme/chat'.config]\nb = 'plugin'\nc = 'plugin'",
        )
        .unwrap();
        let settings = config.terms(Some("acme"), "acme/chat");
        let expected = [("a", "tenant"), ("b", "plugin"), ("c", "plugin")];
        assert_eq!(values(&settings), expected);
        let settings = config.terms(Some("acme"), "acme/other");
        assert_eq!(values(&settings), [("a", "tenant"), ("b", "tenant")]);
        assert_eq!(values(&config.terms(None, "chat")), []);
    }

    #[test]
    fn a_plugins_quotas_are_those_that_it_says() {
        let config = from_text(
            "[tenant.acme.quotas]\nrooms = 5\nconnections = 5\n[plugin.'acme/chat'.quotas]\nrooms = 3",
        )
        .unwrap();
        let expected = Quotas {
            rooms: Some(3),
            ..Quotas::default()
        };
        let quotas = |key| config.terms(Some("acme"), key).quotas;
        assert_eq!(quotas("acme/chat"), expected);
        assert_eq!(quotas("acme/other"), Quotas::default());
    }

    #[test]
    fn a_tenants_quotas_go_over_those_for_all_which_are_not_for_the_root_folder() {
        let config = from_text(
            "[quotas]\nrooms = 7\nweight = 50\n[tenant.acme.quotas]\nconnections = 5\nweight = 200",
        )
        .unwrap();
        let for_all = Quotas {
            rooms: Some(7),
            weight: Some(50),
            ..Quotas::of_a_tenant()
        };
        assert_eq!(config.tenant_quotas(Some("other")), for_all);
        let expected = Quotas {
            connections: Some(5),
            weight: Some(200),
            ..for_all
        };
        assert_eq!(config.tenant_quotas(Some("acme")), expected);
        assert_eq!(config.tenant_quotas(None), Quotas::default());
        assert_eq!(config.tenant_quotas(None).weight(), 100);

        let config = from_text("[tenant.'@root'.quotas]\nrooms = 9").unwrap();
        let expected = Quotas {
            rooms: Some(9),
            ..Quotas::default()
        };
        assert_eq!(config.tenant_quotas(None), expected);
        assert_eq!(config.tenant_quotas(Some(ROOT)), expected);
    }

    #[test]
    fn values_come_from_where_they_are_said_to_and_are_not_shown() {
        let text = "[tenant.acme]\nconfig = { a = 'as it is', b = { env = 'B' } }\n\
                    [plugin.'acme/x']\nconfig = { c = { env = 'C' } }";
        let read = |environment: &[(&str, &str)]| {
            let environment: Vec<_> = environment
                .iter()
                .map(|(variable, text)| (variable.to_string(), text.to_string()))
                .collect();
            Config::read(text, Path::new("test"), &environment, &[]).map(|read| read.1)
        };
        let missing = |environment: &[_]| read(environment).unwrap_err().to_string();
        assert_eq!(
            missing(&[]),
            "configuration: `tenant.acme.config.b`: the environment has no variable B"
        );
        assert_eq!(
            missing(&[("B", "")]),
            "configuration: `plugin.\"acme/x\".config.c`: the environment has no variable C"
        );
        let config = read(&[("B", "secret"), ("C", "secret")]).unwrap();
        let settings = config.terms(Some("acme"), "acme/x");
        let expected = [("a", "as it is"), ("b", "secret"), ("c", "secret")];
        assert_eq!(values(&settings), expected);
        assert!(!format!("{config:?}{settings:?}").contains("secret"));
    }

    #[test]
    fn who_asks_about_the_server_needs_no_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tulpar.toml");
        let text = "[admin]\nsocket = 'a'\n\
                    [plugin.x]\nconfig = { a = 'as it is', b = { env = 'B' }, c = { file = '/not/there' } }";
        std::fs::write(&file, text).unwrap();
        assert!(Config::load(Some(&file), []).is_err());
        let config = Config::load_without_values(Some(&file), []).unwrap();
        assert_eq!(config.admin.unix(), Some(Path::new("a")));
        let expected = [("a", "as it is"), ("b", ""), ("c", "")];
        assert_eq!(values(&config.terms(None, "x")), expected);
    }

    #[test]
    fn a_value_in_a_file_is_without_its_last_newline() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let said = format!(
            "[tenant.acme]\nconfig = {{ a = {{ file = '{}' }} }}",
            file.display()
        );
        let settings = from_text(&said).unwrap().terms(Some("acme"), "acme/x");
        assert_eq!(values(&settings), [("a", text.trim_end_matches('\n'))]);
        let missing = from_text("[tenant.acme]\nconfig = { a = { file = '/not/there' } }");
        let reason = missing.unwrap_err();
        assert!(
            reason.starts_with("configuration: `tenant.acme.config.a`: cannot read /not/there"),
            "{reason}"
        );
    }

    #[test]
    fn a_value_is_at_most_64_kib() {
        let said = |bytes: usize| {
            let text = "a".repeat(bytes);
            from_text(&format!("[tenant.acme.config]\na = '{text}'"))
        };
        assert!(said(MAX_VALUE).is_ok());
        let reason = said(MAX_VALUE + 1).unwrap_err();
        assert!(reason.ends_with("`tenant.acme.config.a`: it is over 65536 bytes"));
    }
}
