//! The configuration: a file and the environment.
//!
//! An input is the file; what stands behind a line `#environment` is variables, one a line. It goes by way of a real file,
//! because that is how it is read, and it costs little beside the reading.

use std::io::{Seek, Write};

use tempfile::NamedTempFile;
use toml::{Table, Value};
use tulpar_runtime::config::{Config, ConfigError};

use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "configuration",
    run: configuration,
    words: &[
        "[limits]\n",
        "[timeouts]\n",
        "[quotas]\n",
        "[ulak]\n",
        "[tenant.acme]\n",
        "[tenant.acme.limits]\n",
        "[tenant.'@root'.quotas]\n",
        "[plugin.'acme/chat'.config]\n",
        "[plugin.chat.limits]\n",
        "[tls]\n",
        "[proxy]\n",
        "[sockets]\n",
        "[tenant.acme.sockets]\n",
        "certificate = 'c'\n",
        "trusted = ['10.0.0.0/8', '::1']\n",
        "origins = ['https://*.example.com', 'null', '*']\n",
        "slow-consumer = 'drop-oldest'\n",
        "compression-window-bits = ",
        "deadline-ms = 5\n",
        "instance-memory-bytes = ",
        "rooms-per-socket = ",
        "quarantine-ms = ",
        "weight = 100\n",
        "cpu-ms-per-second = ",
        "hosts = ['*.example.com', '127.0.0.1:80']\n",
        "hosts = []\n",
        "config = { a = 'secret-one' }\n",
        "a = { env = 'SECRET' }\n",
        "a = { file = 'none' }\n",
        "\n#environment\n",
        "TULPAR_LISTEN=127.0.0.1:0\n",
        "TULPAR_LIMITS_DEADLINE_MS=7\n",
        "TULPAR_DEV=true\n",
        "TULPAR_PROXY_TRUSTED=::1, 10.0.0.1\n",
        "unix:/",
        "TULPAR_TENANT=1\n",
        "SECRET=secret-two\n",
        "9223372036854775807",
        "-1",
        "0x7f",
        "1e9",
        "nan",
        "true",
        "1979-05-27T07:32:00Z",
        "\"\"\"",
        "'''",
        "[[",
        "{ ",
        " = ",
        "\\u0000",
        "[::1]:0",
    ],
};

const ENVIRONMENT: &str = "\n#environment\n";
/// How a value begins that no message may show.
const SECRET: &str = "secret-";

thread_local! {
    static FILE: NamedTempFile = NamedTempFile::new().expect("a file can be made");
}

/// Loads the configuration that the bytes say, and what came of it once more.
pub fn configuration(bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes);
    // A value may stand in any file, also in one that never ends.
    if ["dev/", "proc/", "sys/"]
        .iter()
        .any(|part| text.contains(part))
    {
        return Vec::new();
    }
    let (said, environment) = text.split_once(ENVIRONMENT).unwrap_or((&text, ""));
    let variables: Vec<_> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();

    match load(said, &variables) {
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty());
            for secret in secrets(said, &variables) {
                let shown = format!("{message} {error:?}").contains(&secret);
                assert!(!shown || occurs_elsewhere(&text, &secret), "{message}");
            }
            vec![kind(&message)]
        }
        Ok(config) => {
            let shown = format!("{config:?}").contains(SECRET);
            assert!(!shown || is_shown_elsewhere(&config));
            let written = toml::to_string(&config).expect("a configuration can be written");
            let again = load(&written, &[]);
            let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
            assert_eq!(again, config, "{written}");
            let mut seen = vec![0];
            seen.extend(terms(&config));
            seen
        }
    }
}

fn load(text: &str, variables: &[(String, String)]) -> Result<Config, ConfigError> {
    FILE.with(|file| {
        let mut at = file.as_file();
        let written = at
            .set_len(0)
            .and_then(|()| at.rewind())
            .and_then(|()| at.write_all(text.as_bytes()));
        written.expect("the file can be written");
        Config::load(Some(file.path()), variables.iter().cloned())
    })
}

/// What holds for plugins that are named, and for one that is not, is within what holds for all.
fn terms(config: &Config) -> Seen {
    let named = config.plugin.keys().map(|key| match key.split_once('/') {
        Some((tenant, _)) => (Some(tenant), key.as_str()),
        None => (None, key.as_str()),
    });
    let of_tenants = config.tenant.keys().map(|name| (Some(name.as_str()), "x"));
    let others = [(None, "unnamed"), (Some("unnamed"), "unnamed/unnamed")];
    let all = named.chain(of_tenants).chain(others);
    all.map(|(tenant, key)| {
        let terms = config.terms(tenant, key);
        let most = config.limits.instance_memory_bytes;
        assert!(terms.limits.instance_memory_bytes <= most);
        assert_ne!(terms.limits.deadline_ms, 0);
        let weight = config.tenant_quotas(tenant).weight();
        assert!((1..=10_000).contains(&weight), "{weight}");
        (terms.hosts.len() + 8 * terms.config.len()) as u64
    })
    .collect()
}

/// The values of plugins' `config` that would be recognised.
fn secrets(said: &str, variables: &[(String, String)]) -> Vec<String> {
    let table: Table = toml::from_str(said).unwrap_or_default();
    let of = |whose: &str| table.get(whose).and_then(Value::as_table).cloned();
    let named = [of("tenant"), of("plugin")].into_iter().flatten();
    let tables = named.flat_map(|tables| tables.into_iter().map(|(_, table)| table));
    let configs = tables.filter_map(|table| table.get("config")?.as_table().cloned());
    let values = configs.flat_map(|config| config.into_iter().map(|(_, value)| value));
    let own = variables
        .iter()
        .filter(|(name, _)| !name.starts_with("TULPAR_"));
    values
        .filter_map(|value| value.as_str().map(str::to_owned))
        .chain(own.map(|(_, value)| value.clone()))
        .filter(|value| value.starts_with(SECRET))
        .collect()
}

/// What stands in two places may be shown for the other one.
fn occurs_elsewhere(text: &str, secret: &str) -> bool {
    text.matches(secret).count() > 1
}

/// Whether something that is no secret looks like one.
fn is_shown_elsewhere(config: &Config) -> bool {
    let mut config = config.clone();
    for given in config.tenant.values_mut().chain(config.plugin.values_mut()) {
        given.config.retain(|key, _| key.contains(SECRET));
    }
    format!("{config:?}").contains(SECRET)
}
