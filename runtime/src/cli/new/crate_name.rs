//! What a new crate may be called.

use std::path::Path;

use anyhow::{Result, bail};

/// The longest name; crates.io has the same.
const LONGEST: usize = 64;

/// Names that mean something to Rust or to Cargo, or that a plugin depends on, with `_` for `-`.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "tulpar",
    "tulpar_macros",
    "tulpar_test",
    "type",
    "typeof",
    "unsafe",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// What types cannot be called in a plugin: what its source has from the preludes of `tulpar` and of Rust.
const TYPES: &[&str] = &[
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Box",
    "Clone",
    "CloseEvent",
    "Context",
    "Copy",
    "Debug",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "Error",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Hash",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "IntoResponse",
    "Iterator",
    "Json",
    "Message",
    "Middleware",
    "Namespace",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Request",
    "Response",
    "Result",
    "Self",
    "Send",
    "Sized",
    "Socket",
    "SocketError",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Ulak",
    "UlakError",
    "UlakErrorCode",
    "Unpin",
    "Value",
    "Vec",
    "Verdict",
];

/// A name that a crate can have.
#[derive(Debug)]
pub(super) struct CrateName(String);

impl CrateName {
    /// The last part of the path of its folder.
    ///
    /// # Errors
    /// It is none that a crate can have, and why.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let problem = |why: &str| format!("a crate cannot be called {name:?}: {why}");
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            bail!(problem("it has to begin with a lower-case letter"));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if let Some(other) = name.chars().find(|c| !fits(*c)) {
            bail!(problem(&format!("{other:?} is none of a-z, 0-9, - and _")));
        }
        if name.len() > LONGEST {
            bail!(problem(&format!("it has more than {LONGEST} characters")));
        }
        if TAKEN.contains(&name.replace('-', "_").as_str()) {
            bail!(problem("that means something to Rust, Cargo or Tulpar"));
        }
        Ok(Self(name.into_owned()))
    }

    /// The name.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What Cargo calls the file that it builds, without its ending.
    pub(super) fn file(&self) -> String {
        self.0.replace('-', "_")
    }

    /// A type's name for it: `chat-rooms` is `ChatRooms`, and `message` is `MessagePlugin`.
    pub(super) fn type_name(&self) -> String {
        let words = self.0.split(['-', '_']);
        let name: String = words
            .flat_map(|word| {
                let (first, rest) = word.split_at(word.len().min(1));
                [first.to_ascii_uppercase(), rest.to_owned()]
            })
            .collect();
        match TYPES.contains(&name.as_str()) {
            true => name + "Plugin",
            false => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_cargo_takes() {
        let most = "a".repeat(LONGEST);
        for good in ["hello", "a", "chat-rooms", "a_1", "dir/chat", &most] {
            assert!(CrateName::of(Path::new(good)).is_ok(), "{good}");
        }
        let long = "a".repeat(LONGEST + 1);
        for bad in [
            "", ".", "..", "/", "Hello", "1a", "-a", "_a", "a b", "a.b", "ä", "aä", "fn", "test",
            "tulpar", "std", &long,
        ] {
            let error = CrateName::of(Path::new(bad)).expect_err(bad);
            assert!(error.to_string().contains("cannot be called"), "{error}");
        }
        for bad in ["tulpar-test", "tulpar_test", "proc-macro"] {
            assert!(CrateName::of(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_type_is_called_as_rust_calls_types() {
        for (name, expected) in [
            ("hello", "Hello"),
            ("chat-rooms", "ChatRooms"),
            ("a_1b", "A1b"),
            ("a--b-", "AB"),
            ("ok", "OkPlugin"),
            ("ulak-error-code", "UlakErrorCodePlugin"),
            ("self-", "SelfPlugin"),
        ] {
            let name = CrateName::of(Path::new(name)).unwrap();
            assert_eq!(name.type_name(), expected);
        }
    }

    #[test]
    fn no_type_is_called_as_what_a_plugin_has_from_the_prelude() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/src/lib.rs");
        let source = std::fs::read_to_string(sdk).unwrap();
        let (_, prelude) = source.split_once("pub mod prelude {").unwrap();
        let (_, prelude) = prelude.split_once("pub use crate::{").unwrap();
        let (names, _) = prelude.split_once('}').unwrap();
        let names: Vec<_> = names.split(',').map(str::trim).collect();
        assert!(names.contains(&"CloseEvent"), "{names:?}");
        for name in names {
            assert!(
                !name.starts_with(char::is_uppercase) || TYPES.contains(&name),
                "{name}"
            );
        }
    }
}
