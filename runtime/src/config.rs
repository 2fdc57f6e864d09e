//! Every setting: its key in `tulpar.toml`, its default, its unit and where the number comes from.
//!
//! A value is taken from the command line, else from the environment, else from the file, else from the default.
//! In the environment the setting `limits.deadline-ms` is called `TULPAR_LIMITS_DEADLINE_MS`. Everything is checked
//! before the server binds or loads anything.

mod plugin;
mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Table;

pub use self::plugin::{ConfigValue, HostPattern, PluginSettings};
use self::settings::Settings;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// The address to serve on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder whose `.wasm` files are served.
    pub plugins: PathBuf,
    /// The folder for compiled code. It is made with access for its owner alone; whoever can write to it can run code
    /// in the host.
    pub cache: PathBuf,
    /// The folder for what plugins keep, a file for each tenant. It is made with access for its owner alone.
    pub store: PathBuf,
    /// Development: serve the try-it page at `/`.
    pub dev: bool,
    /// Who may reach whom through the broker.
    pub ulak: Ulak,
    /// What a plugin or a client may use.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What single plugins are given, by the file's name without `.wasm`, behind `TENANT/` for a tenant's.
    pub plugin: BTreeMap<String, PluginSettings>,
}

/// Who may reach whom through the broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ulak {
    /// Whether the plugins of the root folder may address the namespaces of all tenants.
    pub all_tenants: bool,
}

/// What a plugin or a client may use at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Size of a plugin's file.
    pub max_plugin_bytes: u64,
    /// Linear memory of one instance.
    pub instance_memory_bytes: usize,
    /// Instances alive at once. It reserves address space, not memory: 4 GiB each.
    pub instances: u32,
    /// Time a call into a plugin may take: what the guest computes and what it waits for count together.
    pub deadline_ms: u32,
    /// Time an HTTP request to a controller may take, from its head to the last byte of the response.
    pub request_deadline_ms: u32,
    /// Time a service's on-start, on-stop and each run of a schedule may take.
    pub job_deadline_ms: u32,
    /// Time of these that the guest itself may compute.
    pub compute_ms: u32,
    /// HTTP requests that one controller serves at once.
    pub requests: usize,
    /// Size of the body of an HTTP request to a controller.
    pub request_body_bytes: usize,
    /// Size of the body of a controller's response.
    pub response_body_bytes: usize,
    /// HTTP requests that one plugin may have under way to other hosts.
    pub outgoing_requests: usize,
    /// Sockets that an instance may hold at once, beside the one whose event it handles.
    pub handles: usize,
    /// Size of a message, in either direction, put together from its fragments.
    pub max_message_bytes: usize,
    /// What may wait to be written to one socket. A single message that finds the queue empty may exceed it.
    pub outbox_bytes: usize,
    /// Rooms that one socket may be in.
    pub rooms_per_socket: usize,
    /// Rooms that may exist in one namespace.
    pub rooms_per_namespace: usize,
    /// Rooms or operations in one call of the broker.
    pub bulk_operations: usize,
    /// Size of what the plugins of one tenant keep: keys, values and 64 bytes for each pair.
    pub store_bytes: u64,
    /// Size of one value of these.
    pub store_value_bytes: usize,
    /// Size of the folder for compiled code; over it, what was not used for longest goes.
    pub cache_bytes: u64,
    /// Size of a request's head: the request line and its headers.
    pub request_head_bytes: usize,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timeouts {
    /// From accepting a connection to its whole request head, and from one request to the next.
    pub handshake_ms: u64,
    /// From our close frame to the end of the closing handshake.
    pub close_ms: u64,
    /// From the signal to stop to the end of the process.
    pub grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            plugins: "plugins".into(),
            cache: ".tulpar/cache".into(),
            store: ".tulpar/store".into(),
            dev: false,
            ulak: Ulak::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            plugin: BTreeMap::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A TypeScript or Python component carries its engine: 12 to 18 MB.
            max_plugin_bytes: 32 << 20,
            instance_memory_bytes: 64 << 20,
            instances: 1000,
            deadline_ms: 50,
            request_deadline_ms: 10_000,
            job_deadline_ms: 10_000,
            compute_ms: 1_000,
            requests: 100,
            // nginx's `client_max_body_size`.
            request_body_bytes: 1 << 20,
            response_body_bytes: 16 << 20,
            outgoing_requests: 100,
            handles: 1024,
            // Bun's `maxPayloadLength`.
            max_message_bytes: 16 << 20,
            outbox_bytes: 1 << 20,
            rooms_per_socket: 1000,
            rooms_per_namespace: 100_000,
            bulk_operations: 1000,
            store_bytes: 64 << 20,
            store_value_bytes: 1 << 20,
            cache_bytes: 1 << 30,
            request_head_bytes: 16 << 10,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake_ms: 5_000,
            close_ms: 5_000,
            grace_ms: 10_000,
        }
    }
}

impl Timeouts {
    /// `handshake-ms` as a duration.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    /// `close-ms` as a duration.
    #[must_use]
    pub fn close(&self) -> Duration {
        Duration::from_millis(self.close_ms)
    }

    /// `grace-ms` as a duration.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
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

impl Config {
    /// The settings of `file` (when there is one) over the defaults, with those of `environment` over both.
    ///
    /// # Errors
    /// The file cannot be read or parsed, a key is unknown, a value is of the wrong type or out of its range.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let mut settings = Settings::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                path: path.into(),
                source,
            })?;
            let said: Table = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
                path: path.into(),
                line: error
                    .span()
                    .map(|at| 1 + text[..at.start].matches('\n').count()),
                message: error.message().to_owned(),
            })?;
            settings.overlay(said, "", &path.display().to_string())?;
        }
        for (variable, text) in &environment {
            settings.overlay_variable(variable, text)?;
        }
        let invalid = |reason| ConfigError::Invalid {
            origin: "configuration".into(),
            reason,
        };
        let mut config = settings.check().map_err(invalid)?;
        for (name, settings) in &mut config.plugin {
            settings.resolve(name, &environment).map_err(invalid)?;
        }
        Ok(config)
    }

    /// What is wrong with the values; none when they fit.
    fn problem(&self) -> Option<String> {
        let Limits {
            max_plugin_bytes,
            instance_memory_bytes,
            instances,
            deadline_ms,
            request_deadline_ms,
            job_deadline_ms,
            compute_ms,
            requests,
            request_body_bytes,
            response_body_bytes,
            outgoing_requests: _,
            handles: _,
            max_message_bytes,
            outbox_bytes,
            rooms_per_socket: _,
            rooms_per_namespace: _,
            bulk_operations: _,
            store_bytes: _,
            store_value_bytes,
            cache_bytes: _,
            request_head_bytes,
        } = self.limits;
        let ranges = [
            ("limits.max-plugin-bytes", max_plugin_bytes, 1, 1 << 30),
            (
                "limits.instance-memory-bytes",
                instance_memory_bytes as u64,
                1 << 16,
                1 << 32,
            ),
            ("limits.instances", u64::from(instances), 1, 10_000),
            ("limits.deadline-ms", u64::from(deadline_ms), 1, 60_000),
            (
                "limits.request-deadline-ms",
                u64::from(request_deadline_ms),
                1,
                3_600_000,
            ),
            (
                "limits.job-deadline-ms",
                u64::from(job_deadline_ms),
                1,
                86_400_000,
            ),
            ("limits.compute-ms", u64::from(compute_ms), 1, 86_400_000),
            ("limits.requests", requests as u64, 1, 10_000),
            (
                "limits.request-body-bytes",
                request_body_bytes as u64,
                0,
                1 << 30,
            ),
            (
                "limits.response-body-bytes",
                response_body_bytes as u64,
                1,
                1 << 40,
            ),
            (
                "limits.store-value-bytes",
                store_value_bytes as u64,
                1,
                1 << 30,
            ),
            (
                "limits.max-message-bytes",
                max_message_bytes as u64,
                1,
                1 << 30,
            ),
            ("limits.outbox-bytes", outbox_bytes as u64, 1, 1 << 30),
            (
                "limits.request-head-bytes",
                request_head_bytes as u64,
                8 << 10,
                1 << 20,
            ),
            (
                "timeouts.handshake-ms",
                self.timeouts.handshake_ms,
                1,
                3_600_000,
            ),
            ("timeouts.close-ms", self.timeouts.close_ms, 1, 3_600_000),
            ("timeouts.grace-ms", self.timeouts.grace_ms, 1, 3_600_000),
        ];
        let (key, value, least, most) = ranges
            .into_iter()
            .find(|&(_, value, least, most)| value < least || value > most)?;
        Some(format!("`{key}` is {value}; it must be {least} to {most}"))
    }
}
