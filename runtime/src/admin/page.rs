//! The live page: its files, which are in the program.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, answer};

/// What the page may do: have what this server gives, and nothing else; stand in no other page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Each file below `page/`: its path, its type and its content.
macro_rules! files {
    ($($name:literal $type:ident),* $(,)?) => {
        [$((concat!("/", $name), $type, include_str!(concat!("page/", $name)))),*]
    };
}

const FILES: [(&str, &str, &str); 17] = files![
    "index.html" HTML,
    "style.css" CSS,
    "icon.svg" SVG,
    "main.js" JS,
    "api.js" JS,
    "dom.js" JS,
    "history.js" JS,
    "plot.js" JS,
    "ask.js" JS,
    "overview.js" JS,
    "plugin.js" JS,
    "namespace.js" JS,
    "socket.js" JS,
    "upload.js" JS,
    "table.js" JS,
    "log.js" JS,
    "try.js" JS,
];

/// The file of that path; none when there is none.
pub(super) fn file(path: &str) -> Option<Answer> {
    let path = if path == "/" { "/index.html" } else { path };
    let (_, media_type, content) = FILES.iter().find(|(its, ..)| *its == path)?;
    let mut file = answer(StatusCode::OK, media_type, *content);
    let policy = HeaderValue::from_static(POLICY);
    file.headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (path, _, content) in FILES {
            for foreign in [
                "https://",
                "http://",
                "//cdn",
                "innerHTML",
                "style=",
                "onclick=",
            ] {
                let is_there = content
                    .replace("http://www.w3.org/2000/svg", "")
                    .contains(foreign);
                assert!(!is_there, "{foreign} in {path}");
            }
        }
    }

    #[test]
    fn every_file_that_the_page_asks_for_is_there() {
        for (path, _, content) in FILES {
            let imports = content.split("from \"./").skip(1);
            let named = content.split("=\"/").skip(1);
            for asked in imports.chain(named) {
                let name = asked.split('"').next().unwrap_or_default();
                assert!(
                    file(&format!("/{name}")).is_some(),
                    "{path} asks for {name}"
                );
            }
        }
    }
}
