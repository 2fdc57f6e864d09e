//! What a plugin or a client may use at most, and how long things may take: `[limits]` and `[timeouts]`, and what
//! single tenants and plugins get in their place. What the numbers may be is in `ranges`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Calls of host functions that one call into a plugin may make.
    pub host_calls: u64,
    /// Size of a message, in either direction, put together from its fragments.
    pub max_message_bytes: usize,
    /// What messages that are coming in may take in the whole server, beyond the first 64 KiB of each connection.
    pub receiving_bytes: u64,
    /// What may wait to be written to one socket. A single message that finds the queue empty may exceed it.
    pub outbox_bytes: usize,
    /// What the operating system may hold of a connection that it cannot send yet, on Linux. 0: as much as it likes.
    pub unsent_bytes: u32,
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
    /// Headers that a request may have.
    pub request_headers: usize,
    /// Open connections of the whole server.
    pub connections: usize,
    /// Open connections from one address, or, of IPv6, from one network of 64 bits.
    pub connections_per_address: usize,
    /// Messages from one socket in each second; more are read later. 0: as many as come.
    pub socket_messages_per_second: u32,
    /// Time that compiling one component may take.
    pub compile_ms: u32,
    /// Memory that the process that compiles may use.
    pub compile_memory_bytes: u64,
    /// Failures within 10 seconds after which a plugin is quarantined; 0: it never is.
    pub quarantine_failures: u32,
}

/// What `[tenant.NAME.limits]` and `[plugin.NAME.limits]` say in the place of [`Limits`]. The others are limits of the
/// whole server: of a process, a socket or a folder that many plugins share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitOverrides {
    /// See [`Limits::instance_memory_bytes`].
    pub instance_memory_bytes: Option<usize>,
    /// See [`Limits::deadline_ms`].
    pub deadline_ms: Option<u32>,
    /// See [`Limits::request_deadline_ms`].
    pub request_deadline_ms: Option<u32>,
    /// See [`Limits::job_deadline_ms`].
    pub job_deadline_ms: Option<u32>,
    /// See [`Limits::compute_ms`].
    pub compute_ms: Option<u32>,
    /// See [`Limits::requests`].
    pub requests: Option<usize>,
    /// See [`Limits::request_body_bytes`].
    pub request_body_bytes: Option<usize>,
    /// See [`Limits::response_body_bytes`].
    pub response_body_bytes: Option<usize>,
    /// See [`Limits::outgoing_requests`].
    pub outgoing_requests: Option<usize>,
    /// See [`Limits::handles`].
    pub handles: Option<usize>,
    /// See [`Limits::host_calls`].
    pub host_calls: Option<u64>,
    /// See [`Limits::max_message_bytes`].
    pub max_message_bytes: Option<usize>,
    /// See [`Limits::outbox_bytes`].
    pub outbox_bytes: Option<usize>,
    /// See [`Limits::rooms_per_socket`].
    pub rooms_per_socket: Option<usize>,
    /// See [`Limits::rooms_per_namespace`].
    pub rooms_per_namespace: Option<usize>,
    /// See [`Limits::bulk_operations`].
    pub bulk_operations: Option<usize>,
    /// See [`Limits::socket_messages_per_second`].
    pub socket_messages_per_second: Option<u32>,
}

impl LimitOverrides {
    /// All that a plugin has of its own by these.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        Self {
            instance_memory_bytes: Some(limits.instance_memory_bytes),
            deadline_ms: Some(limits.deadline_ms),
            request_deadline_ms: Some(limits.request_deadline_ms),
            job_deadline_ms: Some(limits.job_deadline_ms),
            compute_ms: Some(limits.compute_ms),
            requests: Some(limits.requests),
            request_body_bytes: Some(limits.request_body_bytes),
            response_body_bytes: Some(limits.response_body_bytes),
            outgoing_requests: Some(limits.outgoing_requests),
            handles: Some(limits.handles),
            host_calls: Some(limits.host_calls),
            max_message_bytes: Some(limits.max_message_bytes),
            outbox_bytes: Some(limits.outbox_bytes),
            rooms_per_socket: Some(limits.rooms_per_socket),
            rooms_per_namespace: Some(limits.rooms_per_namespace),
            bulk_operations: Some(limits.bulk_operations),
            socket_messages_per_second: Some(limits.socket_messages_per_second),
        }
    }

    /// `base` with what is said here in its place.
    #[must_use]
    pub fn over(&self, base: &Limits) -> Limits {
        // Named one by one, so that a field that is left out does not compile.
        let Self {
            instance_memory_bytes,
            deadline_ms,
            request_deadline_ms,
            job_deadline_ms,
            compute_ms,
            requests,
            request_body_bytes,
            response_body_bytes,
            outgoing_requests,
            handles,
            host_calls,
            max_message_bytes,
            outbox_bytes,
            rooms_per_socket,
            rooms_per_namespace,
            bulk_operations,
            socket_messages_per_second,
        } = *self;
        Limits {
            instance_memory_bytes: instance_memory_bytes.unwrap_or(base.instance_memory_bytes),
            deadline_ms: deadline_ms.unwrap_or(base.deadline_ms),
            request_deadline_ms: request_deadline_ms.unwrap_or(base.request_deadline_ms),
            job_deadline_ms: job_deadline_ms.unwrap_or(base.job_deadline_ms),
            compute_ms: compute_ms.unwrap_or(base.compute_ms),
            requests: requests.unwrap_or(base.requests),
            request_body_bytes: request_body_bytes.unwrap_or(base.request_body_bytes),
            response_body_bytes: response_body_bytes.unwrap_or(base.response_body_bytes),
            outgoing_requests: outgoing_requests.unwrap_or(base.outgoing_requests),
            handles: handles.unwrap_or(base.handles),
            host_calls: host_calls.unwrap_or(base.host_calls),
            max_message_bytes: max_message_bytes.unwrap_or(base.max_message_bytes),
            outbox_bytes: outbox_bytes.unwrap_or(base.outbox_bytes),
            rooms_per_socket: rooms_per_socket.unwrap_or(base.rooms_per_socket),
            rooms_per_namespace: rooms_per_namespace.unwrap_or(base.rooms_per_namespace),
            bulk_operations: bulk_operations.unwrap_or(base.bulk_operations),
            socket_messages_per_second: socket_messages_per_second
                .unwrap_or(base.socket_messages_per_second),
            ..base.clone()
        }
    }
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timeouts {
    /// From accepting a connection to its whole request head, and from one request to the next.
    pub handshake_ms: u64,
    /// How long a connection may be silent before it is pinged; 0: it never is.
    pub ping_ms: u64,
    /// From a ping to the end of a connection that stays silent.
    pub pong_ms: u64,
    /// From our close frame to the end of the closing handshake.
    pub close_ms: u64,
    /// From the signal to stop to the end of the process.
    pub grace_ms: u64,
    /// From the signal to stop until no connection is accepted any more; meanwhile the server is not ready.
    pub unready_ms: u64,
    /// Over what time open sockets are closed then. 0: all at once.
    pub drain_ms: u64,
    /// How long the server waits for plugins to be compiled before it accepts connections.
    pub start_ms: u64,
    /// How long a plugin's file has to stay as it is before it is loaded.
    pub settle_ms: u64,
    /// The first back-off of a quarantine; each further one is twice as long.
    pub quarantine_ms: u64,
    /// The longest back-off of a quarantine.
    pub quarantine_max_ms: u64,
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
            host_calls: 1_000_000,
            // Bun's `maxPayloadLength`.
            max_message_bytes: 16 << 20,
            receiving_bytes: 1 << 30,
            outbox_bytes: 1 << 20,
            unsent_bytes: 128 << 10,
            rooms_per_socket: 1000,
            rooms_per_namespace: 100_000,
            bulk_operations: 1000,
            store_bytes: 64 << 20,
            store_value_bytes: 1 << 20,
            cache_bytes: 1 << 30,
            request_head_bytes: 16 << 10,
            // hyper's own, and Apache's `LimitRequestFields`.
            request_headers: 100,
            connections: 100_000,
            connections_per_address: 10_000,
            socket_messages_per_second: 0,
            compile_ms: 60_000,
            compile_memory_bytes: 2 << 30,
            quarantine_failures: 5,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake_ms: 5_000,
            ping_ms: 30_000,
            pong_ms: 10_000,
            close_ms: 5_000,
            grace_ms: 10_000,
            unready_ms: 0,
            drain_ms: 0,
            start_ms: 60_000,
            settle_ms: 100,
            quarantine_ms: 1_000,
            quarantine_max_ms: 60_000,
        }
    }
}

impl Timeouts {
    /// `handshake-ms` as a duration.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    /// `ping-ms` as a duration; none when no connection is pinged.
    #[must_use]
    pub fn ping(&self) -> Option<Duration> {
        (self.ping_ms > 0).then(|| Duration::from_millis(self.ping_ms))
    }

    /// `pong-ms` as a duration.
    #[must_use]
    pub fn pong(&self) -> Duration {
        Duration::from_millis(self.pong_ms)
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

    /// `unready-ms` as a duration.
    #[must_use]
    pub fn unready(&self) -> Duration {
        Duration::from_millis(self.unready_ms)
    }

    /// `drain-ms` as a duration.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    /// `start-ms` as a duration.
    #[must_use]
    pub fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }

    /// `settle-ms` as a duration.
    #[must_use]
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// `quarantine-ms` as a duration.
    #[must_use]
    pub fn quarantine(&self) -> Duration {
        Duration::from_millis(self.quarantine_ms)
    }

    /// `quarantine-max-ms` as a duration.
    #[must_use]
    pub fn quarantine_max(&self) -> Duration {
        Duration::from_millis(self.quarantine_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::super::ranges;
    use super::*;

    #[test]
    fn what_is_overridden_is_replaced_and_the_rest_stays() {
        let base = Limits::default();
        assert_eq!(LimitOverrides::default().over(&base), base);

        // Every key by its name, so that none lands in another's place.
        let limits = Table::try_from(&base).unwrap();
        let other = |key: &str| Value::Integer(limits[key].as_integer().unwrap() + 1);
        let overridable = ranges::of("limits")
            .iter()
            .filter(|limit| limit.overridable)
            .map(|limit| limit.key);
        for key in overridable.clone() {
            let said = Table::from_iter([(key.to_owned(), other(key))]);
            let said: LimitOverrides = said.try_into().unwrap();
            let mut expected = limits.clone();
            expected.insert(key.to_owned(), other(key));
            assert_eq!(Table::try_from(said.over(&base)).unwrap(), expected);
        }
        let said = overridable.map(|key| (key.to_owned(), other(key)));
        let said: LimitOverrides = Table::from_iter(said).try_into().unwrap();
        assert_eq!(Table::try_from(said).unwrap().len(), 17);
    }

    #[test]
    fn no_time_to_a_ping_means_none() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.ping(), Some(Duration::from_secs(30)));
        let never = Timeouts {
            ping_ms: 0,
            ..timeouts
        };
        assert_eq!(never.ping(), None);
    }
}
