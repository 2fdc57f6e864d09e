//! What a middleware or a controller answers.

use serde::Serialize;

use crate::Json;
use crate::error::Result;

/// A whole HTTP response, of a middleware or a controller.
///
/// ```
/// use tulpar::{Response, json};
///
/// let response = Response::json(429, &json!({ "error": "Too Many Requests" })).header("Retry-After", "10");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// An empty response. `status` is 200 to 599.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A response of JSON, with its content type.
    ///
    /// # Panics
    /// When `value` cannot be written as JSON: its `Serialize` fails, or a map has keys that are no strings.
    pub fn json(status: u16, value: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(value).expect("a response's value can be written as JSON");
        Self::with_body(status, "application/json", body)
    }

    /// A response of plain text, with its content type.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::with_body(
            status,
            "text/plain; charset=utf-8",
            text.into().into_bytes(),
        )
    }

    /// Add a header. Connection, Transfer-Encoding, Content-Length, Upgrade and Sec-WebSocket-* belong to the
    /// host: a response that names one of them becomes a 500.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Set the body. Its content type is a header of its own.
    ///
    /// ```
    /// use tulpar::Response;
    ///
    /// let page = Response::new(200).header("Content-Type", "text/html; charset=utf-8").body("<h1>Hello</h1>");
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn with_body(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            body,
            ..Self::new(status).header("Content-Type", content_type)
        }
    }
}

/// What a handler of a controller answers: a [`Response`]; [`Json`], 200 with its content type; strings, 200 as plain
/// text; `()`, an empty 204; and a pair of a status and any of these.
///
/// ```
/// use tulpar::{IntoResponse, Json, json};
///
/// let created = (201, Json(json!({ "id": "7" }))).into_response()?;
/// # Ok::<(), tulpar::Error>(())
/// ```
pub trait IntoResponse {
    /// The whole response.
    ///
    /// # Errors
    /// When a [`Json`] value cannot be written as JSON. The client gets 500.
    fn into_response(self) -> Result<Response>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response> {
        Ok(self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Result<Response> {
        let body = serde_json::to_vec(&self.0)?;
        Ok(Response::with_body(200, "application/json", body))
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Result<Response> {
        Ok(Response::text(200, self))
    }
}

impl IntoResponse for &str {
    fn into_response(self) -> Result<Response> {
        Ok(Response::text(200, self))
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(204))
    }
}

impl<T: IntoResponse> IntoResponse for (u16, T) {
    fn into_response(self) -> Result<Response> {
        let (status, answer) = self;
        Ok(Response {
            status,
            ..answer.into_response()?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_json_response_says_so() {
        let response = Response::json(401, &json!({ "error": "Unauthorized" }));
        assert_eq!(response.status, 401);
        assert_eq!(response.body, br#"{"error":"Unauthorized"}"#);
        assert_eq!(
            response.headers,
            [("Content-Type".to_owned(), b"application/json".to_vec())]
        );
    }

    #[test]
    fn headers_keep_their_order_and_may_be_bytes() {
        let response = Response::new(204).header("a", "1").header("a", vec![0xff]);
        assert_eq!(
            response.headers,
            [
                ("a".to_owned(), b"1".to_vec()),
                ("a".to_owned(), vec![0xff])
            ]
        );
        assert!(response.body.is_empty());
    }

    #[test]
    fn answers_become_responses() {
        let json = Json(json!({ "b": 1, "a": 2 })).into_response().unwrap();
        assert_eq!(json, Response::json(200, &json!({ "b": 1, "a": 2 })));
        assert_eq!("a".into_response().unwrap(), Response::text(200, "a"));
        let text = String::from("a").into_response().unwrap();
        assert_eq!(text, Response::text(200, "a"));
        assert_eq!(().into_response().unwrap(), Response::new(204));
        let created = (201, Json(1)).into_response().unwrap();
        assert_eq!(created, Response::json(201, &1));
        let moved = (202, Response::new(500).header("a", "1")).into_response();
        assert_eq!(moved.unwrap(), Response::new(202).header("a", "1"));
    }

    #[test]
    fn json_that_cannot_be_written_is_an_error() {
        let no_string_keys = std::collections::BTreeMap::from([([1_u8], 1)]);
        assert!(Json(no_string_keys).into_response().is_err());
    }
}
