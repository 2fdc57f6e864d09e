//! The parts of a URL that `wasi:http` asks for. The host checks them: this only cuts, and refuses what would be cut
//! in a way its author did not mean.

use super::FetchError;

/// A URL of `http` or `https`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) https: bool,
    /// The host, with the port when there is one.
    pub(super) authority: String,
    /// `/` at least.
    pub(super) path_with_query: String,
}

impl Url {
    /// Cut a URL (RFC 3986, section 3). Its fragment is left out, as it is not for the server.
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let invalid = |reason: &str| Err(FetchError::InvalidUrl(reason.into()));
        if text.contains(|c: char| !c.is_ascii_graphic()) {
            return invalid(
                "write spaces, control characters and letters beyond ASCII percent-encoded",
            );
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return invalid("it starts with `https://` or `http://`"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() {
            return invalid("it has no host");
        }
        if authority.contains(['@', '\\']) {
            return invalid(
                "it has no user and no password: send the header `Authorization` instead",
            );
        }
        Ok(Self {
            https,
            authority: authority.to_owned(),
            path_with_query: match path {
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (bool, String, String) {
        let url = Url::parse(text).unwrap();
        (url.https, url.authority, url.path_with_query)
    }

    fn of(https: bool, authority: &str, path: &str) -> (bool, String, String) {
        (https, authority.to_owned(), path.to_owned())
    }

    #[test]
    fn urls_are_cut() {
        assert_eq!(parts("https://a.b"), of(true, "a.b", "/"));
        assert_eq!(
            parts("HTTP://a.b:81/c/d?e=f#g"),
            of(false, "a.b:81", "/c/d?e=f")
        );
        assert_eq!(parts("http://a?b=c://d"), of(false, "a", "/?b=c://d"));
        assert_eq!(parts("http://[::1]:80/#a?b"), of(false, "[::1]:80", "/"));
        assert_eq!(parts("http://a/@b"), of(false, "a", "/@b"));
    }

    #[test]
    fn others_say_what_is_wrong() {
        for (text, reason) in [
            ("", "starts with"),
            ("a.b/c", "starts with"),
            ("ftp://a.b", "starts with"),
            ("https:/a.b", "starts with"),
            ("https:///a", "no host"),
            ("https://", "no host"),
            ("https://u:p@a.b/", "no user"),
            ("https://a.b\\@c/", "no user"),
            ("https://a b/", "percent-encoded"),
            ("https://a/ö", "percent-encoded"),
            ("https://a/\r\n", "percent-encoded"),
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
