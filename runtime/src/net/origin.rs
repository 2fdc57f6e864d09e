//! Whether the page that asks for a socket may have one, by the headers of its request (rule C10). Which pages may, the
//! configuration says, see [`Origins`].

use hyper::header::{self, HeaderMap, HeaderName};

use crate::config::Origins;

/// Whether these are not the headers of a page that may have no socket. What is no browser sends no `Origin`, and a page
/// cannot leave it out.
pub(super) fn is_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let host = only(headers, &header::HOST);
    only(headers, &header::ORIGIN).is_some_and(|origin| origins.allows(origin, host))
}

/// The value of a header that comes once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn allowed(headers: &[(HeaderName, &[u8])]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        is_allowed(&map, &Origins::default())
    }

    #[test]
    fn c10_one_origin_and_one_host_are_looked_at() {
        const ORIGIN: HeaderName = header::ORIGIN;
        const HOST: HeaderName = header::HOST;
        assert!(allowed(&[]));
        assert!(allowed(&[(HOST, b"a")]));
        assert!(allowed(&[(HOST, b"a"), (HOST, b"b")]));
        assert!(allowed(&[(HOST, b"a"), (ORIGIN, b"http://a")]));
        for refused in [
            &[(HOST, &b"a"[..]), (ORIGIN, b"http://b")][..],
            &[(HOST, b"a"), (ORIGIN, b"")],
            &[(HOST, b"a"), (ORIGIN, b"http://a\xff")],
            &[(HOST, b"a"), (ORIGIN, b"http://a"), (ORIGIN, b"http://a")],
            &[(HOST, b"a"), (HOST, b"a"), (ORIGIN, b"http://a")],
            &[(HOST, b"a\xff"), (ORIGIN, b"http://a")],
            &[(ORIGIN, b"http://a")],
        ] {
            assert!(!allowed(refused), "{refused:?}");
        }
    }
}
