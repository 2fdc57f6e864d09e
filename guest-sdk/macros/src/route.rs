//! The path of a handler of a controller, relative to the controller's own.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, LitStr, Result};

use crate::rules;

const MAX_PATH_BYTES: usize = 256;

/// A part of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// As browsers send it, percent-encoded.
    Literal(String),
    Param(String),
    Rest(String),
}

/// Read a path. The controller's own is `/`, or nothing.
pub(crate) fn parse(path: &LitStr) -> Result<Vec<Segment>> {
    let fail = |message: String| Err(Error::new(path.span(), message));
    let text = path.value();
    if text.is_empty() || text == "/" {
        return Ok(Vec::new());
    }
    let Some(segments) = text.strip_prefix('/') else {
        return fail(format!(
            "a route's path starts with `/`: write `\"/{text}\"`"
        ));
    };
    if text.len() > MAX_PATH_BYTES {
        return fail(format!(
            "a route's path has at most {MAX_PATH_BYTES} bytes, this one has {}",
            text.len()
        ));
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || "?#%".contains(c)) {
        return fail(
            "a route's path has no query, no spaces and no percent-encoding: write the characters themselves".into(),
        );
    }
    let segments: Vec<_> = segments.split('/').collect();
    let mut parsed = Vec::<Segment>::new();
    for (index, segment) in segments.iter().enumerate() {
        let segment = match read(segment) {
            Ok(segment) => segment,
            Err(message) => return fail(message),
        };
        if let Some(name) = segment.name() {
            if parsed.iter().any(|earlier| earlier.name() == Some(name)) {
                return fail(format!(
                    "the parameter `{name}` stands twice: give each a name"
                ));
            }
            if matches!(segment, Segment::Rest(_)) && index + 1 < segments.len() {
                return fail(format!(
                    "`{{*{name}}}` takes all that follows: nothing stands behind it"
                ));
            }
        }
        parsed.push(segment);
    }
    Ok(parsed)
}

fn read(segment: &str) -> std::result::Result<Segment, String> {
    match segment {
        "" => {
            return Err(
                "a route's path has no empty segments: leave out `//` and a `/` at the end".into(),
            );
        }
        "." | ".." => {
            return Err("a route's path has no dot segments: leave out `.` and `..`".into());
        }
        _ => {}
    }
    if let Some(name) = segment.strip_prefix(':') {
        return Err(format!("a parameter stands in braces: write `{{{name}}}`"));
    }
    let inner = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let Some(inner) = inner else {
        if segment.contains(['{', '}', '*']) {
            return Err("a parameter is a whole segment: write `/{name}`, or `/{*rest}` for all that follows".into());
        }
        return Ok(Segment::Literal(rules::as_sent(segment)));
    };
    let (name, rest) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letters) {
        return Err(
            "a parameter's name has letters, digits and `_`: write `{name}`, or `{*rest}`".into(),
        );
    }
    let name = name.to_owned();
    Ok(if rest {
        Segment::Rest(name)
    } else {
        Segment::Param(name)
    })
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Param(name) | Self::Rest(name) => Some(name),
        }
    }

    /// The same for segments that neither path nor precedence tell apart.
    fn shape(&self) -> (u8, &str) {
        match self {
            Self::Literal(text) => (0, text),
            Self::Param(_) => (1, ""),
            Self::Rest(_) => (2, ""),
        }
    }

    pub(crate) fn constant(&self) -> TokenStream {
        match self {
            Self::Literal(text) => quote!(::tulpar::private::Segment::Literal(#text)),
            Self::Param(name) => quote!(::tulpar::private::Segment::Param(#name)),
            Self::Rest(name) => quote!(::tulpar::private::Segment::Rest(#name)),
        }
    }
}

/// Whether nothing decides between the two. Of any others the first segment in which they differ decides: a literal
/// before a parameter, and that before a rest.
pub(crate) fn tie(a: &[Segment], b: &[Segment]) -> bool {
    a.iter()
        .map(Segment::shape)
        .eq(b.iter().map(Segment::shape))
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Segment>> {
        parse(&LitStr::new(text, Span::call_site()))
    }

    fn segments(text: &str) -> Vec<Segment> {
        parsed(text).unwrap()
    }

    #[test]
    fn good_paths() {
        assert_eq!(segments(""), []);
        assert_eq!(segments("/"), []);
        assert_eq!(
            segments("/users/{id}/files/{*path_1}"),
            [
                Segment::Literal("users".into()),
                Segment::Param("id".into()),
                Segment::Literal("files".into()),
                Segment::Rest("path_1".into()),
            ]
        );
        assert_eq!(
            segments("/ürün/<a>.b"),
            [
                Segment::Literal("%C3%BCr%C3%BCn".into()),
                Segment::Literal("%3Ca%3E.b".into()),
            ]
        );
        assert!(parsed(&format!("/{}", "a".repeat(255))).is_ok());
    }

    #[test]
    fn bad_paths_say_what_to_write() {
        let longest = format!("/{}", "a".repeat(256));
        for (text, reason) in [
            ("users", "write `\"/users\"`"),
            (longest.as_str(), "this one has 257"),
            ("/a?b", "no query"),
            ("/a b", "no spaces"),
            ("/a%20b", "the characters themselves"),
            ("/a/", "no empty segments"),
            ("//", "no empty segments"),
            ("/a/../b", "no dot segments"),
            ("/:id", "write `{id}`"),
            ("/a{id}", "a whole segment"),
            ("/{id}.json", "a whole segment"),
            ("/*", "a whole segment"),
            ("/{}", "letters, digits and `_`"),
            ("/{*}", "letters, digits and `_`"),
            ("/{a-b}", "letters, digits and `_`"),
            ("/{*rest}/a", "nothing stands behind it"),
            ("/{id}/{id}", "stands twice"),
            ("/{id}/{*id}", "stands twice"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn paths_tie_when_only_names_differ() {
        let tied = |a: &str, b: &str| tie(&segments(a), &segments(b));
        assert!(tied("/users/{id}", "/users/{name}"));
        assert!(tied("/{*a}", "/{*b}"));
        assert!(tied("", "/"));
        for (a, b) in [
            ("/users/{id}", "/users/me"),
            ("/users/{id}", "/users/{*rest}"),
            ("/a/{x}", "/{y}/b"),
            ("/a", "/a/b"),
        ] {
            assert!(!tied(a, b), "{a} {b}");
        }
    }
}
