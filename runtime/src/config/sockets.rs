//! How a namespace treats its sockets, `[sockets]`, and what single tenants and plugins say in its place. What the
//! numbers may be is in `ranges`.

use serde::{Deserialize, Serialize};

use super::Origins;

/// How a namespace treats its sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sockets {
    /// The pages that may connect besides those of the server's own host.
    pub origins: Origins,
    /// What becomes of a peer that reads too slowly, and of the messages for it.
    pub slow_consumer: SlowConsumer,
    /// Whether messages may be compressed, see [`Sockets::compression`].
    pub compression: bool,
    /// See [`Compression::threshold`].
    pub compression_threshold: usize,
    /// See [`Compression::window_bits`].
    pub compression_window_bits: u8,
    /// See [`Compression::context_takeover`].
    pub compression_context_takeover: bool,
    /// See [`Compression::ratio`].
    pub compression_ratio: u32,
}

/// What becomes of a peer for which more waits than `limits.outbox-bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    expecting = "\"close\", \"drop-newest\" or \"drop-oldest\""
)]
pub enum SlowConsumer {
    /// It is closed with 1008.
    #[default]
    Close,
    /// What there is no room for is left out.
    DropNewest,
    /// What has waited for longest is left out until there is room.
    DropOldest,
}

/// How messages are compressed when the client can do it too: permessage-deflate, RFC 7692.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Bytes below which a message goes as it is.
    pub threshold: usize,
    /// The largest window, 9 to 15, of the server and of clients that can have another than 15: two to that power are its
    /// bytes.
    pub window_bits: u8,
    /// Whether messages may refer to those before them on the same socket, which takes memory for each.
    pub context_takeover: bool,
    /// How many times its compressed size a message may inflate to once it is over 64 KiB inflated.
    pub ratio: u32,
}

impl Sockets {
    /// How messages are compressed; none when they are not.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        self.compression.then_some(Compression {
            threshold: self.compression_threshold,
            window_bits: self.compression_window_bits,
            context_takeover: self.compression_context_takeover,
            ratio: self.compression_ratio,
        })
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            slow_consumer: SlowConsumer::Close,
            compression: false,
            compression_threshold: 256,
            // The largest of RFC 7692, and what clients expect that say nothing.
            compression_window_bits: 15,
            compression_context_takeover: true,
            compression_ratio: 100,
        }
    }
}

/// What `[tenant.NAME.sockets]` and `[plugin.NAME.sockets]` say in the place of [`Sockets`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SocketOverrides {
    /// See [`Sockets::origins`]. An empty list is one too: it leaves the server's own host.
    pub origins: Option<Origins>,
    /// See [`Sockets::slow_consumer`].
    pub slow_consumer: Option<SlowConsumer>,
    /// See [`Sockets::compression`].
    pub compression: Option<bool>,
    /// See [`Compression::threshold`].
    pub compression_threshold: Option<usize>,
    /// See [`Compression::window_bits`].
    pub compression_window_bits: Option<u8>,
    /// See [`Compression::context_takeover`].
    pub compression_context_takeover: Option<bool>,
    /// See [`Compression::ratio`].
    pub compression_ratio: Option<u32>,
}

impl SocketOverrides {
    /// `base` with what is said here in its place.
    #[must_use]
    pub fn over(&self, base: &Sockets) -> Sockets {
        // Named one by one, so that a field that is left out does not compile.
        let Self {
            origins,
            slow_consumer,
            compression,
            compression_threshold,
            compression_window_bits,
            compression_context_takeover,
            compression_ratio,
        } = self;
        Sockets {
            origins: origins.as_ref().unwrap_or(&base.origins).clone(),
            slow_consumer: slow_consumer.unwrap_or(base.slow_consumer),
            compression: compression.unwrap_or(base.compression),
            compression_threshold: compression_threshold.unwrap_or(base.compression_threshold),
            compression_window_bits: compression_window_bits
                .unwrap_or(base.compression_window_bits),
            compression_context_takeover: compression_context_takeover
                .unwrap_or(base.compression_context_takeover),
            compression_ratio: compression_ratio.unwrap_or(base.compression_ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::super::tests::from_text;
    use super::*;

    #[test]
    fn what_is_said_is_replaced_and_the_rest_stays() {
        let base = Sockets::default();
        assert_eq!(SocketOverrides::default().over(&base), base);

        // Every key by its name, so that none lands in another's place.
        let sockets = Table::try_from(&base).unwrap();
        for (key, value) in &sockets {
            let other = match value {
                Value::Array(_) => Value::Array(vec!["https://a.b".into()]),
                Value::String(_) => "drop-oldest".into(),
                Value::Boolean(value) => Value::Boolean(!value),
                Value::Integer(value) => Value::Integer(value - 1),
                other => panic!("{other:?}"),
            };
            let said = Table::from_iter([(key.clone(), other.clone())]);
            let said: SocketOverrides = said.try_into().unwrap();
            let mut expected = sockets.clone();
            expected.insert(key.clone(), other);
            assert_eq!(Table::try_from(said.over(&base)).unwrap(), expected);
        }
    }

    #[test]
    fn a_policy_that_there_is_not_is_refused_with_those_that_there_are() {
        for (text, path) in [
            (
                "[sockets]\nslow-consumer = 'wait'",
                "`sockets.slow-consumer`",
            ),
            ("[tenant.a.sockets]\nslow-consumer = 'wait'", "`tenant.a`"),
        ] {
            let said = from_text(text).unwrap_err();
            for part in [path, "close", "drop-newest", "drop-oldest"] {
                assert!(said.contains(part), "{said}");
            }
        }
        for (text, policy) in [
            ("close", SlowConsumer::Close),
            ("drop-newest", SlowConsumer::DropNewest),
            ("drop-oldest", SlowConsumer::DropOldest),
        ] {
            let config = from_text(&format!("[sockets]\nslow-consumer = '{text}'")).unwrap();
            assert_eq!(config.sockets.slow_consumer, policy);
        }
    }

    #[test]
    fn compression_is_off_unless_it_is_on() {
        assert_eq!(Sockets::default().compression(), None);
        let text = "[sockets]\ncompression = true\ncompression-window-bits = 9";
        let expected = Compression {
            threshold: 256,
            window_bits: 9,
            context_takeover: true,
            ratio: 100,
        };
        assert_eq!(
            from_text(text).unwrap().sockets.compression(),
            Some(expected)
        );
    }
}
