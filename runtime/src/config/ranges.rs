//! What every number in the configuration may be, and which limits hold for single tenants and plugins. Kept apart from
//! the types, because a number is checked under the name by which it was said.

use toml::{Table, Value};

/// What one number may be, both ends included.
#[derive(Debug, PartialEq)]
pub(super) struct Range {
    /// The key in its table.
    pub(super) key: &'static str,
    least: i64,
    most: i64,
    /// Whether a limit may be another for single tenants and plugins.
    pub(super) overridable: bool,
}

const fn range(key: &'static str, least: i64, most: i64) -> Range {
    Range {
        key,
        least,
        most,
        overridable: false,
    }
}

/// A limit that may be another for single tenants and plugins.
const fn overridable(key: &'static str, least: i64, most: i64) -> Range {
    Range {
        overridable: true,
        ..range(key, least, most)
    }
}

/// As much as TOML can say.
const ANY: i64 = i64::MAX;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

const LIMITS: [Range; 31] = [
    range("max-plugin-bytes", 1, 1 << 30),
    overridable("instance-memory-bytes", 1 << 16, 1 << 32),
    range("instances", 1, 10_000),
    overridable("deadline-ms", 1, 60_000),
    overridable("request-deadline-ms", 1, HOUR),
    overridable("job-deadline-ms", 1, DAY),
    overridable("compute-ms", 1, DAY),
    overridable("requests", 1, 10_000),
    overridable("request-body-bytes", 0, 1 << 30),
    overridable("response-body-bytes", 1, 1 << 40),
    // A semaphore counts them, which panics at far more.
    overridable("outgoing-requests", 0, 1_000_000),
    overridable("handles", 0, ANY),
    overridable("host-calls", 1, 1_000_000_000),
    overridable("max-message-bytes", 1, 1 << 30),
    range("receiving-bytes", 1, 1 << 44),
    overridable("outbox-bytes", 1, 1 << 30),
    range("unsent-bytes", 0, 1 << 30),
    overridable("rooms-per-socket", 0, ANY),
    overridable("rooms-per-namespace", 0, ANY),
    overridable("bulk-operations", 0, ANY),
    range("store-bytes", 0, ANY),
    range("store-value-bytes", 1, 1 << 30),
    range("cache-bytes", 0, ANY),
    range("request-head-bytes", 8 << 10, 1 << 20),
    // Browsers send some twenty.
    range("request-headers", 32, 10_000),
    range("connections", 1, 10_000_000),
    range("connections-per-address", 1, 10_000_000),
    overridable("socket-messages-per-second", 0, 1_000_000_000),
    range("compile-ms", 1, HOUR),
    range("compile-memory-bytes", 64 << 20, 1 << 40),
    range("quarantine-failures", 0, 1_000_000),
];

const TIMEOUTS: [Range; 11] = [
    range("handshake-ms", 1, HOUR),
    range("ping-ms", 0, DAY),
    range("pong-ms", 1, HOUR),
    range("close-ms", 1, HOUR),
    range("grace-ms", 1, HOUR),
    range("unready-ms", 0, HOUR),
    range("drain-ms", 0, HOUR),
    range("start-ms", 0, HOUR),
    range("settle-ms", 1, 60_000),
    range("quarantine-ms", 1, HOUR),
    range("quarantine-max-ms", 1, DAY),
];

// The window's bits are those of RFC 7692, section 7.1.2, but for 8, which zlib cannot do.
const SOCKETS: [Range; 3] = [
    range("compression-threshold", 0, 1 << 30),
    range("compression-window-bits", 9, 15),
    // DEFLATE does not reach much more than 1000.
    range("compression-ratio", 1, 100_000),
];

// A rate of 0 would hold back forever, and a tenant that may compute nothing cannot even say what its plugins are.
const QUOTAS: [Range; 12] = [
    range("instances", 1, 10_000),
    range("memory-bytes", 1 << 16, 1 << 44),
    range("connections", 0, 10_000_000),
    range("rooms", 0, 1_000_000_000),
    range("queued-bytes", 1, 1 << 40),
    range("receiving-bytes", 1, 1 << 40),
    range("messages-per-second", 1, 1_000_000_000),
    range("deliveries-per-second", 1, 1_000_000_000),
    range("host-calls-per-second", 1, 1_000_000_000),
    range("log-lines-per-second", 1, 1_000_000),
    range("cpu-ms-per-second", 1, 1_000_000),
    range("weight", 1, 10_000),
];

const BACKPLANE: [Range; 7] = [
    range("cut-off-ms", 0, HOUR),
    range("request-ms", 1, 60_000),
    range("heartbeat-ms", 50, 60_000),
    range("rooms", 0, 1_000_000),
    range("queue-bytes", 1 << 16, 1 << 32),
    range("lease-ms", 1_000, HOUR),
    // More than five copies NATS does not keep.
    range("replicas", 1, 5),
];

const TELEMETRY: [Range; 1] = [range("trace-one-in", 1, 1_000_000_000)];

impl Range {
    /// Whether `value`, said under the name `path`, is an integer in this range.
    ///
    /// # Errors
    /// It is not, and why.
    pub(super) fn check(&self, path: &str, value: &Value) -> Result<(), String> {
        let (least, most) = (self.least, self.most);
        match value {
            Value::Integer(value) if (least..=most).contains(value) => Ok(()),
            Value::Integer(value) => {
                Err(format!("`{path}` is {value}; it must be {least} to {most}"))
            }
            other => Err(format!(
                "`{path}` is of type {}; it must be of type integer",
                other.type_str()
            )),
        }
    }
}

/// The numbers of a table; none when it has none.
pub(super) fn of(table: &str) -> &'static [Range] {
    match table {
        "limits" => &LIMITS,
        "timeouts" => &TIMEOUTS,
        "sockets" => &SOCKETS,
        "quotas" => &QUOTAS,
        "backplane" => &BACKPLANE,
        "telemetry" => &TELEMETRY,
        _ => &[],
    }
}

/// What is wrong with the numbers of all settings; none when they fit.
pub(super) fn problem(settings: &Table) -> Option<String> {
    settings
        .iter()
        .filter_map(|(name, table)| Some((name, table.as_table()?)))
        .flat_map(|(name, table)| of(name).iter().map(move |range| (name, table, range)))
        .find_map(|(name, table, range)| {
            let value = table.get(range.key)?;
            let path = format!("{name}.{}", range.key);
            range.check(&path, value).err()
        })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn every_number_has_a_range_and_its_default_is_in_it() {
        let settings = Table::try_from(Config::default()).unwrap();
        assert_eq!(problem(&settings), None);
        for (name, table) in settings {
            let numbers = table.as_table().into_iter().flatten();
            let numbers: Vec<_> = numbers
                .filter(|(_, value)| value.is_integer())
                .map(|(key, _)| key.as_str())
                .collect();
            let mut ranges: Vec<_> = of(&name).iter().map(|range| range.key).collect();
            let mut expected = numbers.clone();
            ranges.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ranges, expected, "[{name}]");
        }
    }

    #[test]
    fn every_range_holds_at_its_ends_and_one_past_them_fails() {
        for name in ["limits", "timeouts", "sockets", "quotas", "backplane"] {
            for range in of(name) {
                let (least, most) = (range.least, range.most);
                let tried = |value: i64| {
                    let table = Table::from_iter([(range.key.to_owned(), Value::Integer(value))]);
                    problem(&Table::from_iter([(name.to_owned(), Value::Table(table))]))
                };
                for good in [least, most] {
                    assert_eq!(tried(good), None);
                }
                for bad in [least.checked_sub(1), most.checked_add(1)]
                    .into_iter()
                    .flatten()
                {
                    let key = range.key;
                    let expected = format!("`{name}.{key}` is {bad}; it must be {least} to {most}");
                    assert_eq!(tried(bad), Some(expected));
                }
            }
        }
    }

    #[test]
    fn a_number_at_the_end_of_its_range_fits_its_field() {
        for name in ["limits", "timeouts", "sockets", "quotas", "backplane"] {
            let mut settings = Table::try_from(Config::default()).unwrap();
            for range in of(name) {
                for value in [range.least, range.most] {
                    settings[name][range.key] = Value::Integer(value);
                    let read: Result<Config, _> = settings.clone().try_into();
                    assert!(read.is_ok(), "{name}.{} = {value}", range.key);
                }
            }
        }
    }
}
