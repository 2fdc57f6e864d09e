//! What the file says of single tenants and plugins, `[tenant.NAME]` and `[plugin.NAME]`: the types, and why a table is
//! refused. What a plugin gets in the end is in [`PluginSettings`](super::PluginSettings).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::plugin::{ConfigValue, resolve};
use super::settings::{nearest, quoted};
use super::{
    ConfigError, HostPattern, LimitOverrides, Quotas, ROOT, SocketOverrides, Sockets, ranges,
};

/// The keys of a table for one tenant or plugin: a list, and tables.
const HOSTS: &str = "hosts";
const TABLES: [&str; 4] = ["config", "limits", "sockets", "quotas"];

/// What the file says of one tenant, for all of its plugins, or of one plugin. What it does not say is inherited,
/// except for a plugin's quotas: those of its tenant bound it anyway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Given {
    /// The hosts that HTTP requests may go to. An empty list is one too: it takes the tenant's away from a plugin.
    pub hosts: Option<Vec<HostPattern>>,
    /// What is read through `wasi:config`.
    pub config: BTreeMap<String, ConfigValue>,
    /// What holds in the place of `[limits]`.
    pub limits: LimitOverrides,
    /// What holds in the place of `[sockets]`.
    pub sockets: SocketOverrides,
    /// What may be used: by all plugins of the tenant together, or by the plugin alone.
    pub quotas: Quotas,
}

impl Given {
    /// Fetches the values that stand elsewhere, in variables of the environment and in files.
    pub(super) fn resolve(
        &mut self,
        whose: Whose,
        name: &str,
        environment: &[(String, String)],
    ) -> Result<(), String> {
        let path = format!("{}.config", whose.path(name));
        resolve(&mut self.config, &path, environment)
    }
}

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Tenant,
    Plugin,
}

impl Whose {
    pub(super) const ALL: [Self; 2] = [Self::Tenant, Self::Plugin];

    /// The table with the tables of all tenants, or of all plugins.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Plugin => "plugin",
        }
    }

    /// The table's name, as one would write it.
    pub(super) fn path(self, name: &str) -> String {
        format!("{}.{}", self.table(), quoted(name))
    }

    /// The keys of a table, for the message about one that is not among them.
    fn keys(self) -> impl Iterator<Item = String> {
        let limits = ranges::of("limits")
            .iter()
            .filter(|limit| limit.overridable);
        let quotas = ranges::of("quotas")
            .iter()
            .filter(move |quota| self.has(quota.key));
        let own = [HOSTS].into_iter().chain(TABLES).map(String::from);
        let sockets = sockets()
            .into_iter()
            .map(|(key, _)| format!("sockets.{key}"));
        own.chain(limits.map(|limit| format!("limits.{}", limit.key)))
            .chain(sockets)
            .chain(quotas.map(|quota| format!("quotas.{}", quota.key)))
    }

    /// Whether there is such a quota.
    fn has(self, quota: &str) -> bool {
        self == Self::Tenant || quota != "weight"
    }
}

/// What `[sockets]` says before anybody says anything: all keys, and the type of each.
fn sockets() -> Table {
    Table::try_from(Sockets::default()).expect("it is a table of plain values")
}

/// Refuses a table with the name of what cannot be, a key that is not known there, or a value that does not fit.
pub(super) fn check(
    whose: Whose,
    name: &str,
    said: &Value,
    origin: &str,
) -> Result<(), ConfigError> {
    let path = whose.path(name);
    let invalid = |reason| ConfigError::Invalid {
        origin: origin.to_owned(),
        reason,
    };
    check_name(whose, name).map_err(|why| invalid(format!("`{path}`: {why}")))?;
    let table = said.as_table().filter(|table| is_shaped(table));
    // Here and not where the values are read, whose messages would show them.
    let table = table.ok_or_else(|| {
        invalid(format!(
            "`{path}` is a table with `hosts`, a list of texts, and with the tables `config`, `limits`, \
             `sockets` and `quotas`"
        ))
    })?;

    let unknown = |key: String| ConfigError::UnknownKey {
        origin: origin.to_owned(),
        nearest: nearest(&key, whose.keys()).map(|near| format!("{path}.{near}")),
        key: format!("{path}.{key}"),
    };
    for key in table.keys() {
        if !TABLES.contains(&key.as_str()) && key != HOSTS {
            return Err(unknown(key.clone()));
        }
    }
    for name in ["limits", "quotas"] {
        let numbers = table.get(name).and_then(Value::as_table);
        for (key, value) in numbers.into_iter().flatten() {
            let range = ranges::of(name).iter().find(|range| range.key == key);
            let range = range.ok_or_else(|| unknown(format!("{name}.{key}")))?;
            let path = format!("{path}.{name}.{key}");
            let fits = match name {
                "limits" if !range.overridable => Err(format!(
                    "`{path}`: `{key}` is a limit of the whole server, and belongs into [limits]"
                )),
                "quotas" if !whose.has(key) => Err(format!(
                    "`{path}`: a plugin has no {key} of its own; its tenant has one, in [tenant.NAME.quotas]"
                )),
                _ => range.check(&path, value),
            };
            fits.map_err(invalid)?;
        }
    }
    let known = sockets();
    let said_of_sockets = table.get("sockets").and_then(Value::as_table);
    for (key, value) in said_of_sockets.into_iter().flatten() {
        let default = known.get(key);
        let default = default.ok_or_else(|| unknown(format!("sockets.{key}")))?;
        let path = format!("{path}.sockets.{key}");
        if !default.same_type(value) {
            let (is, wanted) = (value.type_str(), default.type_str());
            return Err(invalid(format!(
                "`{path}` is of type {is}; it must be of type {wanted}"
            )));
        }
        let ranges = ranges::of("sockets").iter();
        for range in ranges.filter(|range| range.key == key) {
            range.check(&path, value).map_err(invalid)?;
        }
    }
    let read: Result<Given, _> = said.clone().try_into();
    match read {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!("`{path}`: {}", error.message()))),
    }
}

fn is_shaped(table: &Table) -> bool {
    table.iter().all(|(key, value)| match key.as_str() {
        HOSTS => value.is_array(),
        key => value.is_table() || !TABLES.contains(&key),
    })
}

/// Refuses what no plugin or tenant of the plugins folder can be called: nothing would ever look for it, and the operator
/// would believe that it holds.
fn check_name(whose: Whose, name: &str) -> Result<(), String> {
    const FITS: &str = "1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_`, `.`, `~`";
    const LEFT_ALONE: &str = "no name begins with `.` or `_`, or ends in `.wasm`";
    let is_seen =
        |name: &str| !name.is_empty() && !name.starts_with(['.', '_']) && !name.ends_with(".wasm");
    let is_tenant = |name: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        is_seen(name) && name.len() <= 64 && name.chars().all(fits)
    };
    let is_plugin =
        |name: &str| is_seen(name) && !name.contains(|c: char| c == '/' || c.is_control());
    match (whose, name.split_once('/')) {
        (Whose::Tenant, _) if name == ROOT || is_tenant(name) => Ok(()),
        (Whose::Tenant, _) => Err(format!(
            "a tenant's name is {FITS}, or {ROOT}; {LEFT_ALONE}"
        )),
        (Whose::Plugin, None) if is_plugin(name) => Ok(()),
        (Whose::Plugin, Some((tenant, plugin))) if is_tenant(tenant) && is_plugin(plugin) => Ok(()),
        (Whose::Plugin, _) => Err(format!(
            "a plugin is called NAME, or TENANT/NAME where the tenant is {FITS}; {LEFT_ALONE}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;

    fn refused(text: &str) -> String {
        from_text(text).expect_err(text)
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_under_its_full_name() {
        for (table, key, least, most) in [
            ("tenant.acme.limits", "deadline-ms", 1, 60_000),
            (
                "tenant.acme.limits",
                "instance-memory-bytes",
                65_536,
                1 << 32,
            ),
            ("plugin.chat.limits", "host-calls", 1, 1_000_000_000),
            (
                "plugin.'acme/chat'.limits",
                "request-body-bytes",
                0,
                1 << 30,
            ),
            ("tenant.acme.limits", "outbox-bytes", 1, 1 << 30),
            ("plugin.chat.limits", "max-message-bytes", 1, 1 << 30),
            (
                "plugin.x.limits",
                "socket-messages-per-second",
                0,
                1_000_000_000,
            ),
            ("tenant.acme.sockets", "compression-window-bits", 9, 15),
            ("plugin.x.sockets", "compression-ratio", 1, 100_000),
            ("tenant.acme.quotas", "weight", 1, 10_000),
            ("tenant.'@root'.quotas", "connections", 0, 10_000_000),
            ("plugin.chat.quotas", "cpu-ms-per-second", 1, 1_000_000),
        ] {
            let said = |value: i64| {
                let pool = "[limits]\ninstance-memory-bytes = 4294967296";
                from_text(&format!("{pool}\n[{table}]\n{key} = {value}"))
            };
            said(least).unwrap();
            said(most).unwrap();
            for bad in [least - 1, most + 1] {
                let path = table.replace('\'', "\"");
                assert_eq!(
                    said(bad).unwrap_err(),
                    format!("test: `{path}.{key}` is {bad}; it must be {least} to {most}")
                );
            }
        }
    }

    #[test]
    fn a_number_of_another_type_is_refused() {
        assert_eq!(
            refused("[tenant.acme.limits]\ndeadline-ms = '7'"),
            "test: `tenant.acme.limits.deadline-ms` is of type string; it must be of type integer"
        );
        assert_eq!(
            refused("[plugin.x.quotas]\nrooms = 1.5"),
            "test: `plugin.x.quotas.rooms` is of type float; it must be of type integer"
        );
    }

    #[test]
    fn what_is_said_of_sockets_has_the_type_of_what_is_said_for_all() {
        for (said, is, wanted) in [
            ("origins = 'https://a'", "string", "array"),
            ("slow-consumer = true", "boolean", "string"),
            ("compression = 1", "integer", "boolean"),
            ("compression-ratio = 1.5", "float", "integer"),
        ] {
            let key = said.split(' ').next().unwrap();
            assert_eq!(
                refused(&format!("[tenant.acme.sockets]\n{said}")),
                format!(
                    "test: `tenant.acme.sockets.{key}` is of type {is}; it must be of type {wanted}"
                )
            );
        }
        let said = refused("[plugin.x.sockets]\norigins = ['a']");
        assert!(
            said.starts_with("test: `plugin.x`: \"a\" in `origins` is no origin"),
            "{said}"
        );
    }

    #[test]
    fn a_limit_of_the_whole_server_is_none_of_a_tenant_or_plugin() {
        for key in [
            "max-plugin-bytes",
            "instances",
            "store-bytes",
            "store-value-bytes",
            "cache-bytes",
            "request-head-bytes",
            "request-headers",
            "connections",
            "connections-per-address",
            "compile-ms",
            "compile-memory-bytes",
            "quarantine-failures",
        ] {
            for table in ["tenant.acme", "plugin.x"] {
                assert_eq!(
                    refused(&format!("[{table}.limits]\n{key} = 1")),
                    format!(
                        "test: `{table}.limits.{key}`: `{key}` is a limit of the whole server, and belongs into \
                         [limits]"
                    )
                );
            }
        }
    }

    #[test]
    fn a_plugin_has_no_weight() {
        assert_eq!(
            refused("[plugin.'acme/chat'.quotas]\nweight = 5"),
            "test: `plugin.\"acme/chat\".quotas.weight`: a plugin has no weight of its own; its tenant has one, in \
             [tenant.NAME.quotas]"
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        for (text, key, near) in [
            ("[tenant.acme]\nhost = []", "host", "hosts"),
            ("[tenant.acme]\nquota = {}", "quota", "quotas"),
            (
                "[tenant.acme]\ndeadline-ms = 5",
                "deadline-ms",
                "limits.deadline-ms",
            ),
            (
                "[tenant.acme.limits]\ndeadlin-ms = 5",
                "limits.deadlin-ms",
                "limits.deadline-ms",
            ),
            (
                "[tenant.acme.quotas]\nconnection = 5",
                "quotas.connection",
                "quotas.connections",
            ),
            (
                "[tenant.acme.sockets]\norigin = 5",
                "sockets.origin",
                "sockets.origins",
            ),
            ("[tenant.acme]\norigins = []", "origins", "sockets.origins"),
            // It is known, but in the other table.
            (
                "[tenant.acme.limits]\nweight = 5",
                "limits.weight",
                "quotas.weight",
            ),
        ] {
            assert_eq!(
                refused(text),
                format!(
                    "test: there is no setting `tenant.acme.{key}`; did you mean `tenant.acme.{near}`?"
                )
            );
        }
        let far = refused("[plugin.x]\nzzz = 5");
        assert_eq!(far, "test: there is no setting `plugin.x.zzz`");
    }

    #[test]
    fn a_table_that_is_none_is_refused_without_showing_it() {
        for text in [
            "[tenant]\nacme = 's3cret'",
            "[tenant.acme]\nconfig = 's3cret'",
            "[tenant.acme]\nlimits = 's3cret'",
            "[tenant.acme]\nsockets = 's3cret'",
            "[tenant.acme]\nquotas = ['s3cret']",
            "[tenant.acme]\nhosts = 's3cret'",
        ] {
            let said = refused(text);
            assert!(
                said.starts_with("test: `tenant.acme` is a table with"),
                "{said}"
            );
            assert!(!said.contains("s3cret"), "{said}");
        }
        let said = refused("[tenant.acme]\nhosts = ['u:s3cret@host']");
        assert!(
            said.starts_with("test: `tenant.acme`: \"host\" in `hosts`"),
            "{said}"
        );
    }

    #[test]
    fn a_name_that_nothing_can_have_is_refused() {
        let longest = "a".repeat(64);
        let too_long = "a".repeat(65);
        for good in ["acme", "@root", "A-z_0.9~", &longest] {
            from_text(&format!("[tenant.'{good}']")).unwrap();
        }
        for bad in [
            "", "@roots", "@", "a b", "a/b", "ü", "*", "_a", ".a", "..", "a.wasm", &too_long,
        ] {
            let said = refused(&format!("[tenant.'{bad}']"));
            assert!(
                said.contains("a tenant's name is 1 to 64 of"),
                "{bad}: {said}"
            );
        }
        for good in [
            "chat",
            "chat.v2",
            "with blanks",
            "acme/chat",
            &format!("{longest}/ü"),
        ] {
            from_text(&format!("[plugin.'{good}']")).unwrap();
        }
        for bad in [
            "",
            "/chat",
            "acme/",
            "a/b/c",
            "@root/chat",
            "chat.wasm",
            "acme/chat.wasm",
            "acme.wasm/chat",
            "_chat",
            ".chat",
            "acme/_chat",
            "_acme/chat",
            &format!("{too_long}/chat"),
        ] {
            let said = refused(&format!("[plugin.'{bad}']"));
            assert!(said.contains("a plugin is called NAME"), "{bad}: {said}");
        }
    }
}
