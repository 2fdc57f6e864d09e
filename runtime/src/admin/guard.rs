//! Who may ask on the address, and what for. On the Unix socket the permissions of its file decide.
//!
//! A browser on the operator's machine reaches the address too, and with it every page that it shows. So nothing is
//! answered under a name that such a page could have chosen, and nothing is changed by what a page of elsewhere can send.
//! Only whether the server lives and is ready is told to everybody.

use hyper::header::{self, AsHeaderName, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};

use super::answer::{Answer, error};
use crate::config::{self, HostPattern, Origins};

/// The header that a request needs which changes something, when there is no token. A page of elsewhere cannot send it.
const HEADER: &str = "tulpar-admin";

/// What is asked for on the address.
pub(super) struct Guard {
    /// Only what it is made of: so two are compared in the same time, however much of them is alike.
    token: Option<blake3::Hash>,
    hosts: Vec<HostPattern>,
}

impl Guard {
    pub(super) fn new(config: &config::Admin) -> Self {
        let token = config.token.text();
        Self {
            token: token.map(|token| blake3::hash(token.as_bytes())),
            hosts: config.hosts.clone(),
        }
    }

    /// Whether the request may be answered.
    ///
    /// # Errors
    /// It may not: what to answer instead.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Box<Answer>> {
        let refused = |status, why: &str| Err(Box::new(error(status, why)));
        let headers = &request.headers;
        let host = only(headers, header::HOST);
        let named = host.and_then(|host| host.parse::<Authority>().ok());
        let absolute = request
            .uri
            .authority()
            .is_none_or(|it| self.answers_for(it));
        if !absolute || !named.is_some_and(|host| self.answers_for(&host)) {
            return refused(
                StatusCode::MISDIRECTED_REQUEST,
                "nothing is answered under this name; `admin.hosts` lists those under which something is",
            );
        }
        let origin = only(headers, header::ORIGIN);
        let is_own = |origin| Origins::default().allows(origin, host);
        if headers.contains_key(header::ORIGIN) && !origin.is_some_and(is_own) {
            return refused(
                StatusCode::FORBIDDEN,
                "a page of another origin may not ask",
            );
        }
        if !is_secret(request.uri.path()) {
            return Ok(());
        }
        if let Some(token) = &self.token
            && !only(headers, header::AUTHORIZATION).is_some_and(|said| knows(said, token))
        {
            let mut answer = error(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            let bearer = HeaderValue::from_static("Bearer");
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
            return Err(Box::new(answer));
        }
        if request.method == Method::GET {
            return Ok(());
        }
        if !only(headers, header::CONTENT_TYPE).is_some_and(is_no_form) {
            return refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json, or application/wasm for a plugin",
            );
        }
        if self.token.is_none() && !headers.contains_key(HEADER) {
            return refused(
                StatusCode::FORBIDDEN,
                "what changes something needs the header `Tulpar-Admin: 1`",
            );
        }
        Ok(())
    }

    /// Whether that is this machine's name, an address, or one of the names that are listed. A page reaches what has an
    /// address by that address only as itself, whereas a name can be made to lead anywhere.
    fn answers_for(&self, host: &Authority) -> bool {
        let (name, port) = (host.host(), host.port_u16());
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_own =
            name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok();
        let default = port.unwrap_or_default();
        let is_listed = || self.hosts.iter().any(|it| it.allows(name, port, default));
        !host.as_str().contains('@') && (is_own || is_listed())
    }
}

/// Whether it is more than the page itself, and than whether the server runs.
fn is_secret(path: &str) -> bool {
    path == "/metrics" || path.starts_with("/api/")
}

/// Whether the value of `Authorization` has the token with that hash.
fn knows(said: &str, token: &blake3::Hash) -> bool {
    let said = said.split_once(' ');
    let said = said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    // Hashes are compared in constant time.
    said.is_some_and(|(_, said)| blake3::hash(said.trim().as_bytes()) == *token)
}

/// Whether a page of elsewhere could not have a browser send that without being asked first.
fn is_no_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/wasm"]
        .iter()
        .any(|it| essence.eq_ignore_ascii_case(it))
}

/// The value of a header that comes once.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
