//! Every setting: its key in `tulpar.toml`, its default, its unit and where the number comes from.
//!
//! A value is taken from the command line, else from the environment, else from the file, else from the default; which of
//! them it was, [`Sourced`] knows.
//! In the environment the setting `limits.deadline-ms` is called `TULPAR_LIMITS_DEADLINE_MS`. Everything is checked
//! before the server binds or loads anything.
//!
//! What holds for a plugin is put together from three levels: what is said for all, what is said of its tenant in
//! `[tenant.NAME]`, and what is said of itself in `[plugin.NAME]`. [`Config::terms`] and [`Config::tenant_quotas`] do
//! it.

mod admin;
mod backplane;
mod given;
mod hosts;
mod limits;
mod listen;
mod live;
mod origins;
mod plugin;
mod proxy;
mod quotas;
mod ranges;
mod settings;
mod sockets;
mod source;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

pub use self::admin::{Admin, Secret};
pub use self::backplane::{
    Backplane, BackplaneKind, CutOff, NatsServer, Prefix, Schedules, StoreKind,
};
pub use self::given::Given;
pub use self::hosts::HostPattern;
pub use self::limits::{LimitOverrides, Limits, Timeouts};
pub use self::listen::{LONGEST_PATH, Listen};
pub use self::live::Live;
pub use self::origins::Origins;
pub use self::plugin::{ConfigValue, PluginSettings};
pub use self::proxy::{Network, Proxy};
pub use self::quotas::Quotas;
pub use self::sockets::{Compression, SlowConsumer, SocketOverrides, Sockets};
pub use self::source::{Flag, Setting, Source, Sourced};
pub use self::telemetry::{Endpoint, Telemetry};
pub use self::tls::Tls;

use self::given::Whose;
use self::settings::Settings;

/// What the root folder is called where a tenant is named. No tenant's folder can be called that.
pub const ROOT: &str = "@root";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// Where to serve.
    pub listen: Listen,
    /// The folder whose `.wasm` files are served.
    pub plugins: PathBuf,
    /// The folder for compiled code. It is made with access for its owner alone; whoever can write to it can run code
    /// in the host.
    pub cache: PathBuf,
    /// The folder for what plugins keep, a file for each tenant. It is made with access for its owner alone.
    pub store: PathBuf,
    /// The folder for what the server itself keeps: which plugins are disabled or rolled back, and their previous
    /// generations. It is made with access for its owner alone.
    pub state: PathBuf,
    /// Development: serve the try-it page at `/`.
    pub dev: bool,
    /// Where the operator reaches the server.
    pub admin: Admin,
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// The proxies before the server.
    pub proxy: Proxy,
    /// Where traces and logs go beside the standard error.
    pub telemetry: Telemetry,
    /// How the node is joined with others.
    pub backplane: Backplane,
    /// Who may reach whom through the broker.
    pub ulak: Ulak,
    /// What a plugin or a client may use.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How a namespace treats its sockets.
    pub sockets: Sockets,
    /// What each tenant may use, all of its plugins together, see [`Config::tenant_quotas`].
    pub quotas: Quotas,
    /// What is said of single tenants, by the folder's name, or [`ROOT`].
    pub tenant: BTreeMap<String, Given>,
    /// What is said of single plugins, by the file's name without `.wasm`, behind `TENANT/` for a tenant's. What holds
    /// for one is in [`Config::terms`].
    pub plugin: BTreeMap<String, Given>,
}

/// Who may reach whom through the broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ulak {
    /// Whether the plugins of the root folder may address the namespaces of all tenants.
    pub all_tenants: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)).into(),
            plugins: "plugins".into(),
            cache: ".tulpar/cache".into(),
            store: ".tulpar/store".into(),
            state: ".tulpar/state".into(),
            dev: false,
            admin: Admin::default(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            telemetry: Telemetry::default(),
            backplane: Backplane::default(),
            ulak: Ulak::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            sockets: Sockets::default(),
            quotas: Quotas::of_a_tenant(),
            tenant: BTreeMap::new(),
            plugin: BTreeMap::new(),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{path} is not valid TOML{}: {message}", .line.map(|line| format!(" in line {line}")).unwrap_or_default())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: Option<usize>,
        /// What. The line itself may hold a secret, and is not shown.
        message: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting `{key}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it was said: the file, or `environment`.
        origin: String,
        /// The key, with its table.
        key: String,
        /// The setting whose name is most like it.
        nearest: Option<String>,
    },
    /// A value does not fit its setting.
    #[error("{origin}: {reason}")]
    Invalid {
        /// Where it was said.
        origin: String,
        /// What does not fit.
        reason: String,
    },
}

fn invalid(reason: String) -> ConfigError {
    ConfigError::Invalid {
        origin: "configuration".into(),
        reason,
    }
}

/// The text of the configuration file, and its path; both are empty when there is none.
fn in_file(file: Option<&Path>) -> Result<(String, &Path), ConfigError> {
    let Some(path) = file else {
        return Ok((String::new(), Path::new("")));
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((text, path)),
        Err(source) => Err(ConfigError::Unreadable {
            path: path.into(),
            source,
        }),
    }
}

impl Config {
    /// The settings of `file` (when there is one) over the defaults, with those of `environment` over both.
    ///
    /// # Errors
    /// The file cannot be read or parsed, a key is unknown, a value is of the wrong type or out of its range, or two
    /// values do not go together.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Ok(Sourced::load(file, environment, &[])?.config)
    }

    /// The same without the values of plugins' configurations that stand elsewhere, in variables and in other files, and are
    /// empty then: for who wants to know about the server itself, and may not have what it has.
    ///
    /// # Errors
    /// As those of [`Config::load`], but for what is wrong with such a value.
    pub fn load_without_values(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let (text, path) = in_file(file)?;
        Ok(Self::read_unresolved(&text, path, &environment, &[])?.1)
    }

    /// What is said in the text of the file at `path`, in the environment and on the command line, and the configuration
    /// that this makes.
    fn read(
        text: &str,
        path: &Path,
        environment: &[(String, String)],
        flags: &[Flag],
    ) -> Result<(Settings, Self), ConfigError> {
        let (settings, mut config) = Self::read_unresolved(text, path, environment, flags)?;
        for (whose, tables) in [
            (Whose::Tenant, &mut config.tenant),
            (Whose::Plugin, &mut config.plugin),
        ] {
            for (name, given) in tables {
                given.resolve(whose, name, environment).map_err(invalid)?;
            }
        }
        Ok((settings, config))
    }

    /// The same, with the values of plugins' configurations as they are said.
    fn read_unresolved(
        text: &str,
        path: &Path,
        environment: &[(String, String)],
        flags: &[Flag],
    ) -> Result<(Settings, Self), ConfigError> {
        let said: Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            line: error
                .span()
                .map(|at| 1 + text[..at.start].matches('\n').count()),
            message: error.message().to_owned(),
        })?;
        let mut settings = Settings::new();
        settings.overlay(said, "", &path.display().to_string())?;
        for (variable, text) in environment {
            settings.overlay_variable(variable, text)?;
        }
        for flag in flags {
            settings.overlay_flag(flag)?;
        }
        let config = settings.check().map_err(invalid)?;
        if let Some(conflict) = config.conflict() {
            return Err(invalid(conflict));
        }
        Ok((settings, config))
    }

    /// Which values do not go together; none when all do. That is asked once everything is said, because the
    /// environment may change either of two.
    fn conflict(&self) -> Option<String> {
        let conflicts = [
            self.shared_folder(),
            self.tls.conflict(),
            self.admin.conflict(),
            self.backplane.conflict(),
        ];
        if let Some(conflict) = conflicts.into_iter().flatten().next() {
            return Some(conflict);
        }
        let Timeouts {
            quarantine_ms,
            quarantine_max_ms,
            grace_ms,
            unready_ms,
            drain_ms,
            ..
        } = self.timeouts;
        if (unready_ms, drain_ms) != (0, 0) && unready_ms + drain_ms >= grace_ms {
            return Some(format!(
                "`timeouts.unready-ms` and `timeouts.drain-ms` are {unready_ms} and {drain_ms}; together they must be \
                 less than `timeouts.grace-ms`, which is {grace_ms}"
            ));
        }
        if quarantine_ms > quarantine_max_ms {
            return Some(format!(
                "`timeouts.quarantine-ms` is {quarantine_ms}; it must not exceed `timeouts.quarantine-max-ms`, which \
                 is {quarantine_max_ms}"
            ));
        }
        let most = self.limits.instance_memory_bytes;
        let tenants = self.tenant.iter().map(|said| (Whose::Tenant, said));
        let plugins = self.plugin.iter().map(|said| (Whose::Plugin, said));
        tenants.chain(plugins).find_map(|(whose, (name, given))| {
            let bytes = given.limits.instance_memory_bytes?;
            (bytes > most).then(|| {
                format!(
                    "`{}.limits.instance-memory-bytes` is {bytes}; it must not exceed `limits.instance-memory-bytes`, \
                     which is {most}: all slots of the pool for instances have that size",
                    whose.path(name)
                )
            })
        })
    }

    /// Which of the folders are one, as far as the paths tell: what is in one of them would be taken for the other's.
    fn shared_folder(&self) -> Option<String> {
        let mut named = BTreeMap::new();
        let folders = [
            ("plugins", &self.plugins),
            ("cache", &self.cache),
            ("store", &self.store),
            ("state", &self.state),
        ];
        folders.into_iter().find_map(|(key, folder)| {
            // Another spelling of the same, with `./` before it perhaps.
            let place = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            let other = named.insert(place, key)?;
            let shown = folder.display();
            Some(format!(
                "`{other}` and `{key}` are both {shown}; each needs a folder of its own"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn from_text(text: &str) -> Result<Config, String> {
        let read = Config::read(text, Path::new("test"), &[], &[]);
        let read = read.map_err(|error| error.to_string());
        Ok(read?.1)
    }

    #[test]
    fn no_instance_may_be_larger_than_a_slot_of_the_pool() {
        for (table, path) in [
            ("tenant.acme", "tenant.acme"),
            ("tenant.'@root'", r#"tenant."@root""#),
            ("plugin.'acme/chat'", r#"plugin."acme/chat""#),
        ] {
            let said = |bytes: u64| {
                from_text(&format!(
                    "[{table}.limits]\ninstance-memory-bytes = {bytes}\n[limits]\ninstance-memory-bytes = 131072"
                ))
            };
            said(131_072).unwrap();
            assert_eq!(
                said(131_073).unwrap_err(),
                format!(
                    "configuration: `{path}.limits.instance-memory-bytes` is 131073; it must not exceed \
                     `limits.instance-memory-bytes`, which is 131072: all slots of the pool for instances have that \
                     size"
                )
            );
        }
    }

    #[test]
    fn no_folder_is_for_two_things() {
        for (text, said) in [
            (
                "store = '.tulpar/cache'",
                "`cache` and `store` are both .tulpar/cache",
            ),
            (
                "cache = './a/'\nstate = 'a'",
                "`cache` and `state` are both a",
            ),
            (
                "plugins = '/a'\nstore = '/a/.'",
                "`plugins` and `store` are both /a/.",
            ),
        ] {
            let refused = from_text(text).unwrap_err();
            assert_eq!(
                refused,
                format!("configuration: {said}; each needs a folder of its own")
            );
        }
        assert!(from_text("cache = 'a'\nstore = 'a/b'\nstate = '/a'").is_ok());
    }

    #[test]
    fn a_drain_has_to_fit_into_the_grace_time() {
        let said = |drain: u64| {
            from_text(&format!(
                "[timeouts]\ngrace-ms = 3000\nunready-ms = 1000\ndrain-ms = {drain}"
            ))
        };
        assert!(said(1999).is_ok());
        let refused = said(2000).unwrap_err();
        assert!(
            refused.contains("must be less than `timeouts.grace-ms`, which is 3000"),
            "{refused}"
        );
        assert!(from_text("[timeouts]\ngrace-ms = 1").is_ok());
    }

    #[test]
    fn the_environment_may_make_two_values_go_together_or_not() {
        let text = "[tenant.acme.limits]\ninstance-memory-bytes = 134217728";
        assert!(from_text(text).is_err());
        let said = |bytes: &str| {
            let variable = "TULPAR_LIMITS_INSTANCE_MEMORY_BYTES".to_owned();
            Config::read(
                text,
                Path::new("test"),
                &[(variable, bytes.to_owned())],
                &[],
            )
        };
        assert!(said("134217728").is_ok());
        assert!(said("134217727").is_err());
    }

    #[test]
    fn the_first_back_off_is_not_longer_than_the_longest() {
        let said = |max: u32| from_text(&format!("[timeouts]\nquarantine-max-ms = {max}"));
        let timeouts = said(1000).unwrap().timeouts;
        assert_eq!(timeouts.quarantine(), timeouts.quarantine_max());
        assert_eq!(
            said(999).unwrap_err(),
            "configuration: `timeouts.quarantine-ms` is 1000; it must not exceed `timeouts.quarantine-max-ms`, which \
             is 999"
        );
    }
}
