//! What a new crate may be called.

use std::path::Path;

use anyhow::{Result, bail};

/// The longest name; crates.io has the same.
const LONGEST: usize = 64;

/// Names that mean something to Rust or to Cargo, or that a plugin depends on.
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
    "tulpar-macros",
    "tulpar-test",
    "type",
    "typeof",
    "unsafe",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
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
        if TAKEN.contains(&name.as_ref()) {
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

    /// A type's name for it: `chat-rooms` is `ChatRooms`.
    pub(super) fn type_name(&self) -> String {
        let words = self.0.split(['-', '_']);
        words
            .flat_map(|word| {
                let (first, rest) = word.split_at(word.len().min(1));
                [first.to_ascii_uppercase(), rest.to_owned()]
            })
            .collect()
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
    }

    #[test]
    fn a_type_is_called_as_rust_calls_types() {
        for (name, expected) in [
            ("hello", "Hello"),
            ("chat-rooms", "ChatRooms"),
            ("a_1b", "A1b"),
            ("a--b-", "AB"),
        ] {
            let name = CrateName::of(Path::new(name)).unwrap();
            assert_eq!(name.type_name(), expected);
        }
    }
}
