//! Puts what was built where a server finds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where a file is now.
pub(in super::super) struct Placed {
    pub(in super::super) file: PathBuf,
    pub(in super::super) bytes: u64,
    /// Whether another one, or none, was there before.
    pub(in super::super) is_new: bool,
}

/// Copies a file into a folder, which is made when it is missing, under its own name. Whoever reads it there finds all of
/// the old one or all of the new one. One that is the same already is left alone, so that no server takes it for a change.
///
/// # Errors
/// The operating system does not allow it.
pub(in super::super) fn place(built: &Path, folder: &Path) -> Result<Placed> {
    let name = built.file_name().unwrap_or_default().to_string_lossy();
    let file = folder.join(&*name);
    let wrong = || format!("cannot put {name} into {}", folder.display());
    let new = fs::read(built).with_context(wrong)?;
    let is_new = fs::read(&file).ok().is_none_or(|old| old != new);
    if is_new {
        fs::create_dir_all(folder).with_context(wrong)?;
        // A server does not look at files that begin with a dot.
        let unfinished = folder.join(format!(".{name}"));
        fs::write(&unfinished, &new)
            .and_then(|()| fs::rename(&unfinished, &file))
            .with_context(wrong)?;
    }
    Ok(Placed {
        file,
        bytes: new.len() as u64,
        is_new,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_when_it_differs_and_else_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("a.wasm");
        let plugins = folder.path().join("deep/plugins");
        let inode = || fs::metadata(plugins.join("a.wasm")).unwrap().ino();
        fs::write(&built, "1").unwrap();
        assert!(place(&built, &plugins).unwrap().is_new);
        let first = inode();
        assert!(!place(&built, &plugins).unwrap().is_new);
        assert_eq!(inode(), first);
        fs::write(&built, "2").unwrap();
        let placed = place(&built, &plugins).unwrap();
        assert!(placed.is_new);
        assert_eq!(fs::read(placed.file).unwrap(), b"2");
        assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1);
    }
}
