//! Holds the documentation to the tree: links lead somewhere, the reference says what the contract says, and the
//! listings compile.

pub mod links;
pub mod reference;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder of the workspace.
///
/// # Panics
/// When this crate is not where it is in the repository.
#[must_use]
pub fn workspace() -> PathBuf {
    let book = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = book.ancestors().nth(2);
    workspace.expect("it lies in tests/book").to_owned()
}

/// The Markdown pages below a folder, but for what is built, hidden or a link to elsewhere.
///
/// # Errors
/// When a folder cannot be read.
pub fn pages(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path, kind) = (entry.file_name(), entry.path(), entry.file_type()?);
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            found.extend(pages(&path)?);
        } else if kind.is_file() && path.extension().is_some_and(|end| end == "md") {
            found.insert(path);
        }
    }
    Ok(found)
}

/// The listings of the pages, each compiled as an example of the documentation.
#[cfg(doctest)]
mod listings {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../guest-sdk/README.md")]
    struct Crate;
    #[doc = include_str!("../../../docs/plugins.md")]
    struct Plugins;
    #[doc = include_str!("../../../docs/sending.md")]
    struct Sending;
    #[doc = include_str!("../../../docs/asena.md")]
    struct Asena;
}
