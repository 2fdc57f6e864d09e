//! What clients and plugins send each other.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A message. It can be compared with a text, with bytes, and with JSON, whatever its spaces are and the order of its keys.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// The text; none of a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The bytes of either.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// What it says in JSON.
    ///
    /// # Panics
    /// It is no JSON, or not of that shape.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(self.as_bytes()) {
            Ok(value) => value,
            Err(error) => panic!("{self:?} is not the JSON that was expected: {error}"),
        }
    }

    fn value(&self) -> Option<Value> {
        serde_json::from_str(self.as_text()?).ok()
    }
}

/// As it would be written in a test.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Binary(bytes) => bytes.fmt(f),
        }
    }
}

impl PartialEq<str> for Message {
    fn eq(&self, other: &str) -> bool {
        self.as_text() == Some(other)
    }
}

impl PartialEq<&str> for Message {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<String> for Message {
    fn eq(&self, other: &String) -> bool {
        *self == **other
    }
}

impl PartialEq<[u8]> for Message {
    fn eq(&self, other: &[u8]) -> bool {
        matches!(self, Self::Binary(bytes) if bytes == other)
    }
}

impl PartialEq<&[u8]> for Message {
    fn eq(&self, other: &&[u8]) -> bool {
        *self == **other
    }
}

impl PartialEq<Vec<u8>> for Message {
    fn eq(&self, other: &Vec<u8>) -> bool {
        *self == **other
    }
}

impl PartialEq<Value> for Message {
    fn eq(&self, other: &Value) -> bool {
        self.value().as_ref() == Some(other)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// As text.
impl From<Value> for Message {
    fn from(value: Value) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<&Value> for Message {
    fn from(value: &Value) -> Self {
        Self::Text(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_compared_with_what_it_could_be() {
        let text = Message::from(r#"{ "b": 2, "a": 1 }"#);
        assert_eq!(text, json!({ "a": 1, "b": 2 }));
        assert_eq!(vec![text.clone()], [json!({ "a": 1, "b": 2 })]);
        assert_ne!(text, json!({ "a": 1 }));
        assert_ne!(text, *b"{}".as_slice());
        assert_eq!(vec![Message::from("hi")], ["hi"]);
        let bytes = Message::from(b"hi");
        assert_ne!(bytes, "hi");
        assert_eq!(bytes, b"hi".to_vec());
        assert_eq!(
            format!("{:?}", [text, bytes]),
            r#"["{ \"b\": 2, \"a\": 1 }", [104, 105]]"#
        );
    }
}
