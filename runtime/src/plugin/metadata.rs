//! What a plugin says of itself at rest: the custom section `tulpar:plugin`, readable without compiling or running it.
//!
//! The section holds one JSON object a line, one for each handler. `describe()` is the authority; the section serves
//! those who look at a file, and a difference between the two is worth a warning.

use serde::{Deserialize, Serialize};
use wasmtime::wasmparser::{BinaryReaderError, Parser, Payload};

/// The name of the section.
pub const SECTION: &str = "tulpar:plugin";

/// One handler of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Handler {
    /// It serves the sockets of a path.
    Namespace {
        /// The path, below the tenant's.
        path: String,
        /// The name for logs and tables.
        name: String,
        /// The middlewares that an upgrade passes, in their order.
        #[serde(default)]
        middlewares: Vec<String>,
        /// The subprotocols it speaks; empty: any.
        #[serde(default)]
        protocols: Vec<String>,
    },
    /// It decides about requests.
    Middleware {
        /// The name that namespaces and controllers list it by.
        name: String,
    },
    /// It answers HTTP requests.
    Controller {
        /// The path that it serves with everything below, below the tenant's.
        path: String,
        /// The name for logs and tables.
        name: String,
        /// The middlewares that a request passes, in their order.
        #[serde(default)]
        middlewares: Vec<String>,
    },
    /// It works in the background.
    Service {
        /// The name for logs and tables.
        name: String,
        /// What it does at times.
        #[serde(default)]
        schedules: Vec<ScheduleAtRest>,
    },
}

/// What a service does at times: one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScheduleAtRest {
    /// What the service calls it.
    pub name: String,
    /// Milliseconds from one run to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// A cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
}

/// Why a section cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file is no WebAssembly, or broken.
    #[error("not readable as WebAssembly: {0}")]
    Binary(#[from] BinaryReaderError),
    /// A line is not what it should be.
    #[error("section `{SECTION}`: {0}")]
    Json(#[from] serde_json::Error),
}

/// Whether a file ends where its last section does. One that is still being written mostly does not.
#[must_use]
pub fn is_complete(file: &[u8]) -> bool {
    let mut rest = file.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        let Some((size, len)) = section_size(&rest[1..]) else {
            return false;
        };
        match rest.get(1 + len + size..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    file.len() >= 8
}

/// The LEB128 number at the beginning, and how many bytes it takes; none when they are not all there.
fn section_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut size = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        size |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((size, index + 1));
        }
    }
    // One that goes on for longer is no number; validation says so.
    (bytes.len() >= 5).then_some((0, 5))
}

/// The handlers that the file names, in the order of their lines; none when it has no such section.
///
/// # Errors
/// The file is broken, or a line of the section is not one of [`Handler`].
pub fn read(file: &[u8]) -> Result<Vec<Handler>, MetadataError> {
    let mut handlers = Vec::new();
    // The section is the core module's; the component around it carries the module whole, and the parser walks in.
    for payload in Parser::new(0).parse_all(file) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == SECTION
        {
            for line in section.data().split(|&byte| byte == b'\n' || byte == 0) {
                if !line.trim_ascii().is_empty() {
                    handlers.push(serde_json::from_slice(line)?);
                }
            }
        }
    }
    Ok(handlers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(section: &[u8]) -> Vec<u8> {
        let mut file = b"\0asm\x01\0\0\0\0".to_vec();
        file.push(u8::try_from(1 + SECTION.len() + section.len()).unwrap());
        file.push(SECTION.len() as u8);
        file.extend(SECTION.bytes());
        file.extend(section);
        file
    }

    #[test]
    fn p2_each_line_is_a_handler() {
        let file = module(b"{\"kind\":\"middleware\",\"name\":\"a\"}\n{\"kind\":\"namespace\",\"path\":\"/b\",\"name\":\"B\"}\n");
        let handlers = read(&file).unwrap();
        assert_eq!(handlers[0], Handler::Middleware { name: "a".into() });
        assert!(matches!(&handlers[1], Handler::Namespace { path, .. } if path == "/b"));
    }

    #[test]
    fn p2_what_is_broken_is_an_error() {
        assert!(matches!(read(b"nonsense"), Err(MetadataError::Binary(_))));
        assert!(matches!(
            read(&module(b"{\"kind\":\"x\"}")),
            Err(MetadataError::Json(_))
        ));
        assert_eq!(read(b"\0asm\x01\0\0\0").unwrap(), []);
    }
}
