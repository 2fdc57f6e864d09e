//! Which handler of a controller answers a request, and what becomes of what it returns. How requests come in and
//! responses go out is the matter of `wasi_http`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::{Response, json};

/// A handler's method. `HEAD` is served by those of `Get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // The names say it all.
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn serves(self, method: &str) -> bool {
        self.name() == method || (self == Self::Get && method == "HEAD")
    }
}

/// A part of a route's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// That segment as it is sent, and no other spelling of it: a middleware that compares paths sees the same.
    Literal(&'static str),
    /// Any one segment that is not empty.
    Param(&'static str),
    /// All that follows, one segment at least. The last part of its path.
    Rest(&'static str),
}

impl Segment {
    /// What is closer to the path goes first.
    fn rank(self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Param(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

/// A handler's method and path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// As the author wrote it, for the log.
    pub path: &'static str,
    /// The same in its parts.
    pub segments: &'static [Segment],
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.name(), self.path)
    }
}

type Params = Vec<(&'static str, String)>;

/// Which handler answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The one at this index, with what its parameters are.
    Route(usize, Params),
    /// None: the path is known, with these other methods.
    OtherMethods(String),
    /// None: the path is not known.
    Nothing,
}

/// Find who answers. The attribute has seen to it that no two routes of a method tie.
pub(crate) fn find(routes: &[Route], method: &str, path: &str) -> Found {
    let segments = segments(path);
    let matching: Vec<_> = routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route, params(route.segments, &segments)?)))
        .collect();
    let methods: BTreeSet<_> = matching.iter().map(|(_, route, _)| route.method).collect();
    let served = matching
        .into_iter()
        .filter(|(_, route, _)| route.method.serves(method))
        .min_by(|(_, a, _), (_, b, _)| closer(a.segments, b.segments));
    match served {
        Some((index, _, params)) => Found::Route(index, params),
        None if methods.is_empty() => Found::Nothing,
        None => Found::OtherMethods(allow(methods)),
    }
}

/// Compared from the left: a literal goes before a parameter, and that before a rest.
fn closer(a: &[Segment], b: &[Segment]) -> Ordering {
    let ranks = |segments: &[Segment]| -> Vec<u8> { segments.iter().map(|s| s.rank()).collect() };
    ranks(a).cmp(&ranks(b))
}

/// The value of the header Allow (RFC 9110, section 10.2.1).
fn allow(methods: BTreeSet<Method>) -> String {
    let mut names = Vec::new();
    for method in methods {
        names.push(method.name());
        if method == Method::Get {
            names.push("HEAD");
        }
    }
    names.join(", ")
}

fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    // The root alone has no segments.
    if path.is_empty() {
        return Vec::new();
    }
    path.split('/').collect()
}

/// What the parameters are when the path is one of the route's.
fn params(route: &[Segment], path: &[&str]) -> Option<Params> {
    let mut params = Vec::new();
    let mut path = path.iter();
    for segment in route {
        match *segment {
            Segment::Literal(text) => {
                if *path.next()? != text {
                    return None;
                }
            }
            Segment::Param(name) => params.push((name, some(decoded(path.next()?))?)),
            Segment::Rest(name) => {
                params.push((name, some(decoded(&path.as_slice().join("/")))?));
                return Some(params);
            }
        }
    }
    path.as_slice().is_empty().then_some(params)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What the client gets, and the line for the log when something failed.
pub(crate) fn answer(
    what: impl fmt::Display,
    result: Result<Response>,
) -> (Response, Option<String>) {
    match result.and_then(checked) {
        Ok(response) => (response, None),
        Err(error) => {
            let line = format!("{what}: {error}");
            match error.told() {
                // The client's fault is the client's to know.
                Some((status @ 400..=499, message)) => (refusal(status, message), None),
                Some((status, message)) => (refusal(status, message), Some(line)),
                None => (refusal(500, "Internal Server Error"), Some(line)),
            }
        }
    }
}

/// A response that says what is wrong.
pub(crate) fn refusal(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "error": message }))
}

fn checked(response: Response) -> Result<Response> {
    if !(200..=599).contains(&response.status) {
        return Err(Error::msg(format_args!(
            "a response has a status of 200 to 599, not {}",
            response.status
        )));
    }
    match response.headers.iter().find(|(name, _)| is_hosts_own(name)) {
        Some((name, _)) => Err(Error::msg(format_args!(
            "the header `{name}` of a response belongs to the server: leave it out"
        ))),
        None => Ok(response),
    }
}

/// The headers that a plugin does not set, by the contract's `types.response`.
fn is_hosts_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("sec-websocket-")
        || [
            "connection",
            "transfer-encoding",
            "content-length",
            "upgrade",
        ]
        .contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use Segment::{Literal, Param, Rest};

    use super::*;

    const fn route(method: Method, segments: &'static [Segment]) -> Route {
        Route {
            method,
            path: "/the/path",
            segments,
        }
    }

    const ROUTES: &[Route] = &[
        route(Method::Get, &[]),
        route(Method::Get, &[Literal("users"), Param("id")]),
        route(Method::Get, &[Literal("users"), Literal("me")]),
        route(Method::Delete, &[Literal("users"), Param("user")]),
        route(Method::Post, &[Literal("users")]),
        route(Method::Get, &[Literal("files"), Rest("path")]),
        route(
            Method::Get,
            &[Literal("files"), Param("name"), Literal("size")],
        ),
        route(Method::Get, &[Param("any"), Literal("size")]),
    ];

    fn found(method: &str, path: &str) -> (usize, Vec<(&'static str, String)>) {
        match find(ROUTES, method, path) {
            Found::Route(index, params) => (index, params),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    fn params(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        pairs
            .iter()
            .map(|&(name, value)| (name, value.to_owned()))
            .collect()
    }

    #[test]
    fn the_controller_itself_and_what_is_below() {
        assert_eq!(found("GET", "/"), (0, Vec::new()));
        assert_eq!(found("GET", ""), (0, Vec::new()));
        assert_eq!(found("GET", "/users/7"), (1, params(&[("id", "7")])));
        assert_eq!(found("DELETE", "/users/7"), (3, params(&[("user", "7")])));
        assert_eq!(found("POST", "/users"), (4, Vec::new()));
    }

    #[test]
    fn a_literal_wins_over_a_parameter_and_that_over_a_rest() {
        assert_eq!(found("GET", "/users/me").0, 2);
        assert_eq!(found("GET", "/files/a/size").0, 6);
        assert_eq!(found("GET", "/files/a/b"), (5, params(&[("path", "a/b")])));
        // From the left: what is literal first counts first.
        assert_eq!(found("GET", "/users/size"), (1, params(&[("id", "size")])));
        assert_eq!(found("GET", "/files/size").0, 5);
        assert_eq!(found("GET", "/x/size").0, 7);
    }

    #[test]
    fn parameters_are_percent_decoded_and_literals_are_not() {
        assert_eq!(
            found("GET", "/users/a%2Fb%20%C3%B6").1,
            params(&[("id", "a/b ö")])
        );
        assert_eq!(
            found("GET", "/users/%ff%zz").1,
            params(&[("id", "\u{fffd}%zz")])
        );
        assert_eq!(find(ROUTES, "GET", "/%75sers/me"), Found::Nothing);
        assert_eq!(
            found("GET", "/files/a%20b/c").1,
            params(&[("path", "a b/c")])
        );
    }

    #[test]
    fn nothing_is_empty_and_paths_are_whole() {
        for path in [
            "/users/",
            "/users/7/",
            "/users//",
            "/files",
            "/files/",
            "/Users",
            "//",
        ] {
            assert_eq!(find(ROUTES, "GET", path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn head_is_served_by_get() {
        assert_eq!(found("HEAD", "/users/7").0, 1);
        assert_eq!(find(ROUTES, "HEAD", "/nothing"), Found::Nothing);
    }

    #[test]
    fn other_methods_of_a_known_path_are_named() {
        let other = |names: &str| Found::OtherMethods(names.into());
        assert_eq!(find(ROUTES, "GET", "/users"), other("POST"));
        assert_eq!(find(ROUTES, "PUT", "/users/7"), other("GET, HEAD, DELETE"));
        assert_eq!(find(ROUTES, "OPTIONS", "/"), other("GET, HEAD"));
        assert_eq!(find(ROUTES, "get", "/"), other("GET, HEAD"));
    }

    #[test]
    fn a_status_is_told_and_anything_else_is_not() {
        let answered = |error| answer(ROUTES[1], Err(error));
        let (response, line) = answered(Error::status(404, "no such user").context("cannot greet"));
        assert_eq!(response, refusal(404, "no such user"));
        assert_eq!(response.body, br#"{"error":"no such user"}"#);
        assert_eq!(line, None);
        let (response, line) = answered(Error::status(503, "later").context("the store is away"));
        assert_eq!(response, refusal(503, "later"));
        assert_eq!(line.unwrap(), "GET /the/path: the store is away: later");
        let (response, line) = answered(Error::msg("secret"));
        assert_eq!(response, refusal(500, "Internal Server Error"));
        assert_eq!(line.unwrap(), "GET /the/path: secret");
    }

    #[test]
    fn a_response_that_cannot_be_sent_is_an_error() {
        for status in [0, 100, 199, 600] {
            let (response, line) = answer("x", Ok(Response::new(status)));
            assert_eq!(response.status, 500);
            assert!(line.unwrap().contains("200 to 599"));
        }
        for name in ["Content-Length", "upgrade", "Sec-WebSocket-Accept"] {
            let (response, line) = answer("x", Ok(Response::new(200).header(name, "1")));
            assert_eq!(response.status, 500);
            assert!(line.unwrap().contains("belongs to the server"));
        }
        let fine = Response::new(599).header("X-Upgrade", "1");
        assert_eq!(answer("x", Ok(fine.clone())), (fine, None));
    }
}
