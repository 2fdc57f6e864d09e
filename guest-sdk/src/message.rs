//! Messages: what arrives, and everything that can be sent as one.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::tulpar::plugin::types;
use crate::error::{Error, Result};

/// One WebSocket message, whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Message {
    /// The text; none when the message is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload, whichever kind the message is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload read as JSON, whichever kind the message is.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tulpar::Message;
    ///
    /// #[derive(Deserialize)]
    /// struct Move { x: i32, y: i32 }
    ///
    /// let step: Move = Message::Text(r#"{"x":1,"y":2}"#.into()).json()?;
    /// assert_eq!((step.x, step.y), (1, 2));
    /// # Ok::<(), tulpar::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the payload is not JSON, or not of the shape of `T`. The text is the parser's.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.as_bytes()).map_err(Error::from)
    }

    pub(crate) fn borrow(&self) -> types::MessageParam<'_> {
        match self {
            Self::Text(text) => types::MessageParam::Text(text),
            Self::Binary(bytes) => types::MessageParam::Binary(bytes),
        }
    }
}

/// The text; of a binary message its bytes as UTF-8, with U+FFFD for what is none.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A value to be sent as a text message of JSON.
///
/// ```no_run
/// # fn example(ws: &tulpar::Socket<()>) -> tulpar::Result<()> {
/// use tulpar::{Json, json};
///
/// ws.send(Json(json!({ "type": "pong" })))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// What can be sent: strings and [`Json`] as text, bytes as binary, a [`Message`] as what it is; each also
/// by reference. Nothing is quoted or encoded again.
pub trait IntoMessage {
    /// The message, borrowed from `self` where it is there already.
    ///
    /// # Errors
    /// When a [`Json`] value cannot be written as JSON.
    fn payload(&self) -> Result<Payload<'_>>;
}

/// A message about to be sent; see [`IntoMessage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
}

impl Payload<'_> {
    pub(crate) fn into_message(self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.into_owned()),
            Self::Binary(bytes) => Message::Binary(bytes.into_owned()),
        }
    }

    pub(crate) fn borrow(&self) -> types::MessageParam<'_> {
        match self {
            Self::Text(text) => types::MessageParam::Text(text),
            Self::Binary(bytes) => types::MessageParam::Binary(bytes),
        }
    }
}

impl IntoMessage for str {
    fn payload(&self) -> Result<Payload<'_>> {
        Ok(Payload::Text(Cow::Borrowed(self)))
    }
}

impl IntoMessage for String {
    fn payload(&self) -> Result<Payload<'_>> {
        self.as_str().payload()
    }
}

impl IntoMessage for [u8] {
    fn payload(&self) -> Result<Payload<'_>> {
        Ok(Payload::Binary(Cow::Borrowed(self)))
    }
}

impl<const N: usize> IntoMessage for [u8; N] {
    fn payload(&self) -> Result<Payload<'_>> {
        self.as_slice().payload()
    }
}

impl IntoMessage for Vec<u8> {
    fn payload(&self) -> Result<Payload<'_>> {
        self.as_slice().payload()
    }
}

impl IntoMessage for Message {
    fn payload(&self) -> Result<Payload<'_>> {
        match self {
            Self::Text(text) => text.payload(),
            Self::Binary(bytes) => bytes.payload(),
        }
    }
}

impl<T: Serialize> IntoMessage for Json<T> {
    fn payload(&self) -> Result<Payload<'_>> {
        Ok(Payload::Text(serde_json::to_string(&self.0)?.into()))
    }
}

impl<M: IntoMessage + ?Sized> IntoMessage for &M {
    fn payload(&self) -> Result<Payload<'_>> {
        (**self).payload()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn text(message: impl IntoMessage) -> String {
        match message.payload().unwrap() {
            Payload::Text(text) => text.into_owned(),
            Payload::Binary(bytes) => panic!("binary: {bytes:?}"),
        }
    }

    fn binary(message: impl IntoMessage) -> Vec<u8> {
        match message.payload().unwrap() {
            Payload::Binary(bytes) => bytes.into_owned(),
            Payload::Text(text) => panic!("text: {text}"),
        }
    }

    #[test]
    fn strings_are_text_and_bytes_are_binary() {
        assert_eq!(text("a"), "a");
        assert_eq!(text(String::from("a")), "a");
        assert_eq!(binary(vec![1]), [1]);
        assert_eq!(binary(&[1_u8][..]), [1]);
        assert_eq!(binary(b"\x01"), [1]);
    }

    #[test]
    fn a_message_is_sent_as_it_came_and_is_not_copied() {
        let message = Message::Text("a".into());
        assert_eq!(text(&message), "a");
        assert!(matches!(
            message.payload().unwrap(),
            Payload::Text(Cow::Borrowed(_))
        ));
        assert_eq!(binary(Message::Binary(vec![0xff])), [0xff]);
    }

    #[test]
    fn json_keeps_its_keys_in_order_and_quotes_nothing_twice() {
        assert_eq!(
            text(Json(json!({ "type": "a", "b": 1, "a": null }))),
            r#"{"type":"a","b":1,"a":null}"#
        );
        assert_eq!(text(Json("a")), r#""a""#);
    }

    #[test]
    fn json_that_cannot_be_written_is_an_error() {
        let no_string_keys = std::collections::BTreeMap::from([([1_u8], 1)]);
        assert!(Json(no_string_keys).payload().is_err());
    }

    #[test]
    fn json_is_read_from_either_kind() {
        assert_eq!(Message::Text("1".into()).json::<u8>().unwrap(), 1);
        assert_eq!(Message::Binary(b"1".to_vec()).json::<u8>().unwrap(), 1);
        let error = Message::Text("{".into()).json::<u8>().unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn display_is_the_text() {
        assert_eq!(Message::Text("a".into()).to_string(), "a");
        assert_eq!(Message::Binary(b"a\xff".to_vec()).to_string(), "a\u{fffd}");
        assert_eq!(Message::Binary(vec![]).as_text(), None);
    }
}
