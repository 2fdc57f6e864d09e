//! The rules of the contract for what an attribute says, checked while the plugin compiles. The host checks
//! them again when it loads a plugin; here the error points at the author's line.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use syn::{Error, LitStr, Result};

const MAX_PATH_BYTES: usize = 256;
const MAX_NAME_BYTES: usize = 128;
const MAX_MIDDLEWARES: usize = 32;
const MAX_PROTOCOLS: usize = 32;

/// What browsers encode in a path beside letters beyond ASCII: the path percent-encode set of the URL standard.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A path, or a part of one, as a browser sends it. What is encoded already stays so.
pub(crate) fn as_sent(path: &str) -> String {
    utf8_percent_encode(path, ENCODED).to_string()
}

/// The path of a namespace or a controller. It is what others call it by, and so has to be written in the one way in which
/// it is matched.
pub(crate) fn path(path: &LitStr) -> Result<()> {
    let text = path.value();
    let Some(segments) = text.strip_prefix('/') else {
        return fail(
            path,
            format!("a path starts with `/`: write `path = \"/{text}\"`"),
        );
    };
    if text.len() > MAX_PATH_BYTES {
        return fail(
            path,
            format!(
                "a path has at most {MAX_PATH_BYTES} bytes, this one has {}",
                text.len()
            ),
        );
    }
    if text.contains(['?', '#']) {
        return fail(
            path,
            "a path has no query and no fragment: leave `?` and `#` out",
        );
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return fail(path, "a path has no spaces and no control characters");
    }
    // The root alone has no segments.
    for segment in segments.split('/').filter(|_| !segments.is_empty()) {
        match segment {
            "" => {
                return fail(
                    path,
                    "a path has no empty segments: leave out `//` and a `/` at the end",
                );
            }
            "." | ".." => return fail(path, "a path has no dot segments: leave out `.` and `..`"),
            _ => {}
        }
    }
    let sent = as_sent(&text);
    if sent != text {
        return fail(
            path,
            format!(
                "a path is matched as it is sent, and browsers send this one percent-encoded: write `\"{sent}\"`"
            ),
        );
    }
    Ok(())
}

/// The name of a handler.
pub(crate) fn name(name: &LitStr) -> Result<()> {
    let text = name.value();
    if text.is_empty() {
        return fail(name, "a name is not empty");
    }
    if text.len() > MAX_NAME_BYTES {
        return fail(
            name,
            format!(
                "a name has at most {MAX_NAME_BYTES} bytes, this one has {}",
                text.len()
            ),
        );
    }
    if text.contains(char::is_control) {
        return fail(name, "a name has no control characters");
    }
    Ok(())
}

/// The middlewares that a namespace or a controller lists.
pub(crate) fn middlewares(names: &[LitStr]) -> Result<()> {
    if let Some(one_too_many) = names.get(MAX_MIDDLEWARES) {
        return fail(
            one_too_many,
            format!("a request passes at most {MAX_MIDDLEWARES} middlewares"),
        );
    }
    names.iter().try_for_each(name)
}

/// The subprotocols a namespace lists: tokens, as RFC 6455, section 4.1 wants them; no other could ever be
/// offered.
pub(crate) fn protocols(protocols: &[LitStr]) -> Result<()> {
    if let Some(one_too_many) = protocols.get(MAX_PROTOCOLS) {
        return fail(
            one_too_many,
            format!("a namespace speaks at most {MAX_PROTOCOLS} subprotocols"),
        );
    }
    for protocol in protocols {
        let text = protocol.value();
        if text.len() > MAX_NAME_BYTES {
            return fail(
                protocol,
                format!("a subprotocol has at most {MAX_NAME_BYTES} bytes"),
            );
        }
        if text.is_empty() || !text.bytes().all(is_token_byte) {
            return fail(
                protocol,
                "a subprotocol is a token: letters, digits and !#$%&'*+-.^_`|~, such as `\"chat.v1\"`",
            );
        }
    }
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn fail(at: &LitStr, message: impl std::fmt::Display) -> Result<()> {
    Err(Error::new(at.span(), message))
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn lit(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    fn path_error(text: &str) -> String {
        path(&lit(text)).unwrap_err().to_string()
    }

    #[test]
    fn good_paths() {
        let longest = format!("/{}", "a".repeat(255));
        for good in [
            "/",
            "/chat",
            "/ws/notifications",
            "/a.b/..c/~x",
            "/%41",
            "/sohbet/%C3%B6",
            "/a:b@c;d=e,f!$&'()*+[]|",
            longest.as_str(),
        ] {
            assert!(path(&lit(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn bad_paths_say_what_to_write() {
        assert_eq!(
            path_error("chat"),
            "a path starts with `/`: write `path = \"/chat\"`"
        );
        assert!(path_error("").contains("starts with `/`"));
        assert!(path_error(&format!("/{}", "a".repeat(256))).contains("this one has 257"));
        assert!(path_error("/a?b=c").contains("no query"));
        assert!(path_error("/a#b").contains("no fragment"));
        for spaced in ["/a b", "/a\tb", "/a\u{7f}", "/a\0"] {
            assert!(path_error(spaced).contains("no spaces"), "{spaced:?}");
        }
        for empty in ["//", "/a/", "//a", "/a//b"] {
            assert!(path_error(empty).contains("no empty segments"), "{empty}");
        }
        for dots in ["/.", "/..", "/a/../b", "/./a"] {
            assert!(path_error(dots).contains("no dot segments"), "{dots}");
        }
        for (never_sent, sent) in [
            ("/sohbet/ö", "/sohbet/%C3%B6"),
            ("/%C3%B6/ö", "/%C3%B6/%C3%B6"),
            (r#"/"<>^`{}"#, "/%22%3C%3E%5E%60%7B%7D"),
        ] {
            let error = path_error(never_sent);
            let write = format!("percent-encoded: write `\"{sent}\"`");
            assert!(error.ends_with(&write), "{error}");
        }
    }

    #[test]
    fn names_have_1_to_128_bytes_without_control_characters() {
        assert!(name(&lit("a")).is_ok());
        assert!(name(&lit(&"a".repeat(128))).is_ok());
        assert!(name(&lit("")).is_err());
        assert!(name(&lit(&"ö".repeat(65))).is_err());
        assert!(name(&lit("a\n")).is_err());
    }

    #[test]
    fn at_most_32_middlewares() {
        assert!(middlewares(&vec![lit("a"); 32]).is_ok());
        assert!(middlewares(&vec![lit("a"); 33]).is_err());
        assert!(middlewares(&[lit("")]).is_err());
    }

    #[test]
    fn protocols_are_tokens() {
        assert!(protocols(&[lit("v1"), lit("chat.v2+json")]).is_ok());
        for bad in ["", "a b", "a,b", "ö", "a/b"] {
            assert!(protocols(&[lit(bad)]).is_err(), "{bad}");
        }
    }
}
