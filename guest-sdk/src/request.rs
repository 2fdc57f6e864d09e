//! The request that a handler of a controller answers.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// An HTTP request to a controller, whole.
///
/// Its path is relative to the controller's own: `/users/7` for `/admin/users/7` in a controller of `/admin`. What
/// stands before it is in the header `x-forwarded-prefix`.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) params: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The method, in upper case. `HEAD` comes to the handlers of `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path below the controller's, as it was sent, percent-encoding included. `/` for the controller itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first value of that name in the query string, decoded; none when there is none.
    pub fn query(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(self.query.as_bytes());
        let mut values = pairs.filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.into_owned())
    }

    /// The first header of that name, whatever its case; bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = header(&self.headers, name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// All headers, names in lower case, in the order in which they came.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// What stands in the path at the place of `{name}` in the route's, percent-decoded. Never empty. Bytes that
    /// are not UTF-8 are replaced by U+FFFD.
    ///
    /// # Errors
    /// When the route has no parameter of that name, which is a mistake of the plugin: the client gets 500.
    pub fn param(&self, name: &str) -> Result<&str> {
        let mut params = self.params.iter().filter(|(key, _)| *key == name);
        match params.next() {
            Some((_, value)) => Ok(value),
            None => Err(Error::msg(format_args!(
                "the route has no parameter `{name}`: write `{{{name}}}` into its path"
            ))),
        }
    }

    /// The body's bytes; empty when there is none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body read as JSON, whatever its content type.
    ///
    /// # Errors
    /// When it is not JSON, or not of the shape of `T`. A handler that passes it on answers 400 with the parser's
    /// words as `{"error":..}`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::status(400, format_args!("invalid JSON in the body: {error}")))
    }

    /// The values that the middlewares attached, as
    /// [`Context::set_web_socket_value`](crate::Context::set_web_socket_value) has them.
    ///
    /// When nothing was attached the values are JSON's `null`: `Option<User>` is the way to say that they may be
    /// absent.
    ///
    /// # Errors
    /// When the values are not of the shape of `T`. The client gets 500.
    pub fn values<T: DeserializeOwned>(&self) -> Result<T> {
        let values = header(&self.headers, "tulpar-values");
        serde_json::from_slice(values.unwrap_or(b"null")).map_err(|error| {
            Error::from(error).context(match values {
                Some(_) => "the values of the request are not of the type they are read as",
                None => "the request has no values, no middleware attached any",
            })
        })
    }
}

/// Without the query, the headers and the body, which may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The first header of that name, whatever its case.
pub(crate) fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    let mut found = headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)], body: &str) -> Request {
        let headers = headers.iter();
        Request {
            method: "POST".into(),
            path: "/users/a%20b".into(),
            query: "a=1&b=x+y%21&a=2&c".into(),
            headers: headers
                .map(|&(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .collect(),
            params: vec![("id", "a b".into())],
            body: body.into(),
        }
    }

    #[test]
    fn the_query_is_decoded_and_the_first_value_counts() {
        let request = request(&[], "");
        assert_eq!(request.query("a").as_deref(), Some("1"));
        assert_eq!(request.query("b").as_deref(), Some("x y!"));
        assert_eq!(request.query("c").as_deref(), Some(""));
        assert_eq!(request.query("d"), None);
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let request = request(&[("x-a", "1"), ("x-a", "2")], "");
        assert_eq!(request.header("X-A").as_deref(), Some("1"));
        assert_eq!(request.header("x-b"), None);
        assert_eq!(request.headers().len(), 2);
    }

    #[test]
    fn a_parameter_that_is_not_there_says_what_to_write() {
        let request = request(&[], "");
        assert_eq!(request.param("id").unwrap(), "a b");
        assert_eq!(
            request.param("name").unwrap_err().to_string(),
            "the route has no parameter `name`: write `{name}` into its path"
        );
    }

    #[test]
    fn a_body_of_another_shape_is_a_400() {
        assert_eq!(request(&[], "1").json::<u8>().unwrap(), 1);
        for other in ["", "{", "true"] {
            let error = request(&[], other).json::<u8>().unwrap_err();
            let (status, message) = error.told().unwrap();
            assert_eq!(status, 400);
            assert!(
                message.starts_with("invalid JSON in the body: "),
                "{message}"
            );
        }
    }

    #[test]
    fn values_may_be_absent_and_are_the_plugins_own_matter() {
        let with = request(&[("tulpar-values", "7")], "");
        assert_eq!(with.values::<u8>().unwrap(), 7);
        assert_eq!(with.values::<bool>().unwrap_err().told(), None);
        let without = request(&[], "");
        assert_eq!(without.values::<Option<u8>>().unwrap(), None);
        let error = without.values::<u8>().unwrap_err().to_string();
        assert!(error.starts_with("the request has no values"), "{error}");
    }

    #[test]
    fn debug_shows_no_secrets() {
        let shown = format!(
            "{:?}",
            request(&[("authorization", "Bearer s3cret")], "s3cret")
        );
        assert!(
            shown.contains("/users/") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
