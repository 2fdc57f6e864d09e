//! What tenants and plugins may use together with their like: `[quotas]`, and `quotas` of single tenants and plugins.
//! Nothing is counted here; the host does that.

use serde::{Deserialize, Serialize};

/// What a tenant may use, all of its plugins together, or what one plugin may use. A field that is none has no bound
/// here: a plugin's is bounded by its tenant's all the same. The default has no bounds at all; those that `[quotas]`
/// begins with are [`Quotas::of_a_tenant`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Quotas {
    /// Plugin instances alive at once.
    pub instances: Option<u64>,
    /// Linear memory of these together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Open sockets; 0 allows none.
    pub connections: Option<u64>,
    /// Rooms in its namespaces together; 0 allows none.
    pub rooms: Option<u64>,
    /// Messages that wait in the outboxes of its sockets, in bytes, each counted once however many receivers it has.
    pub queued_bytes: Option<u64>,
    /// Messages that are coming in to its sockets, in bytes, beyond the first 64 KiB of each socket.
    pub receiving_bytes: Option<u64>,
    /// Messages from its clients; over it they are held back.
    pub messages_per_second: Option<u64>,
    /// Messages queued to sockets; over it sending fails.
    pub deliveries_per_second: Option<u64>,
    /// Calls of host functions.
    pub host_calls_per_second: Option<u64>,
    /// Lines in the log.
    pub log_lines_per_second: Option<u64>,
    /// Time on the processors in each second, in milliseconds: 1000 is one core.
    pub cpu_ms_per_second: Option<u64>,
    /// Its share of the cores when several tenants want more than there is. A plugin has none, see [`Quotas::weight`]
    /// for a tenant that says none.
    pub weight: Option<u64>,
}

impl Quotas {
    /// The weight of a tenant that says none.
    pub const WEIGHT: u64 = 100;

    /// What `[quotas]` says unless the file says otherwise: every field is a bound.
    #[must_use]
    pub const fn of_a_tenant() -> Self {
        Self {
            instances: Some(100),
            memory_bytes: Some(1 << 30),
            connections: Some(10_000),
            rooms: Some(100_000),
            queued_bytes: Some(256 << 20),
            receiving_bytes: Some(256 << 20),
            messages_per_second: Some(50_000),
            deliveries_per_second: Some(1_000_000),
            host_calls_per_second: Some(1_000_000),
            log_lines_per_second: Some(100),
            cpu_ms_per_second: Some(1_000),
            weight: Some(Self::WEIGHT),
        }
    }

    /// The share of the cores, 1 to 10000: [`Quotas::WEIGHT`] when none is said.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weight.unwrap_or(Self::WEIGHT)
    }

    /// `base` with what is said here in its place.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        // Named one by one, so that a field that is left out does not compile.
        let Self {
            instances,
            memory_bytes,
            connections,
            rooms,
            queued_bytes,
            receiving_bytes,
            messages_per_second,
            deliveries_per_second,
            host_calls_per_second,
            log_lines_per_second,
            cpu_ms_per_second,
            weight,
        } = *self;
        Self {
            instances: instances.or(base.instances),
            memory_bytes: memory_bytes.or(base.memory_bytes),
            connections: connections.or(base.connections),
            rooms: rooms.or(base.rooms),
            queued_bytes: queued_bytes.or(base.queued_bytes),
            receiving_bytes: receiving_bytes.or(base.receiving_bytes),
            messages_per_second: messages_per_second.or(base.messages_per_second),
            deliveries_per_second: deliveries_per_second.or(base.deliveries_per_second),
            host_calls_per_second: host_calls_per_second.or(base.host_calls_per_second),
            log_lines_per_second: log_lines_per_second.or(base.log_lines_per_second),
            cpu_ms_per_second: cpu_ms_per_second.or(base.cpu_ms_per_second),
            weight: weight.or(base.weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::*;

    #[test]
    fn what_is_said_is_replaced_and_the_rest_stays() {
        let base = Quotas::of_a_tenant();
        assert_eq!(Quotas::default().over(&base), base);
        assert_eq!(base.over(&Quotas::default()), base);

        // Every key by its name, so that none lands in another's place.
        let quotas = Table::try_from(base).unwrap();
        assert_eq!(quotas.len(), 12);
        for (key, value) in &quotas {
            let other = Value::Integer(value.as_integer().unwrap() + 1);
            let said = Table::from_iter([(key.clone(), other.clone())]);
            let said: Quotas = said.try_into().unwrap();
            let mut expected = quotas.clone();
            expected.insert(key.clone(), other);
            assert_eq!(Table::try_from(said.over(&base)).unwrap(), expected);
        }
    }

    #[test]
    fn a_bound_that_is_not_said_is_none() {
        let said: Quotas = toml::from_str("rooms = 7").unwrap();
        let expected = Quotas {
            rooms: Some(7),
            ..Quotas::default()
        };
        assert_eq!(said, expected);
        assert_eq!(said.weight(), 100);
        assert_eq!(Table::try_from(said).unwrap().len(), 1);
    }
}
