//! The files of the plugins folder: which there are, whose they are, and what tells that one has changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::load::Refusal;
use crate::ids::PluginId;

/// What tells that a file has changed; none when it is not there. The kernel's own time of change, which cannot be set,
/// is among it.
pub(super) type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// How a file is now.
pub(super) fn stamp(file: &Path) -> Stamp {
    let it = fs::metadata(file).ok()?;
    Some((
        it.dev(),
        it.ino(),
        it.len(),
        it.mtime(),
        it.mtime_nsec(),
        it.ctime(),
        it.ctime_nsec(),
    ))
}

/// A file of the folder, and the plugin it is, or why it cannot be one.
type Found = (PathBuf, Result<PluginId, Refusal>);

/// What there is in the folder.
pub(super) struct Scanned {
    /// The `.wasm` files.
    pub(super) found: Vec<Found>,
    /// Tenants' folders of which that is not known.
    pub(super) unreadable: Vec<PathBuf>,
}

/// The `.wasm` files of the folder and of the folders in it, which are tenants.
pub(super) fn scan(folder: &Path) -> std::io::Result<Scanned> {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    let mut tenants = Vec::new();
    for path in entries(folder)? {
        if path.extension().is_some_and(|ending| ending == "wasm") {
            files.push((path.clone(), identify(None, &path)));
        } else if path.is_dir() {
            tenants.push(path);
        }
    }
    for tenant in tenants {
        // A folder that cannot be read is no reason not to serve the others.
        let inside = match entries(&tenant) {
            Ok(inside) => inside,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => {
                unreadable.push(tenant);
                continue;
            }
        };
        for path in inside {
            if path.extension().is_some_and(|ending| ending == "wasm") {
                files.push((path.clone(), identify(Some(&tenant), &path)));
            }
        }
    }
    Ok(Scanned {
        found: files,
        unreadable,
    })
}

/// The folder and those in it that may be tenants'.
pub(super) fn folders(folder: &Path) -> BTreeSet<PathBuf> {
    let inside = entries(folder).unwrap_or_default().into_iter();
    let mut folders: BTreeSet<_> = inside.filter(|path| path.is_dir()).collect();
    folders.insert(folder.to_owned());
    folders
}

/// What is in a folder, by name, without what begins with `.` or `_`.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().as_encoded_bytes(), [b'.' | b'_', ..]) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The plugin that a file is, by its name.
pub(in super::super) fn identify(tenant: Option<&Path>, file: &Path) -> Result<PluginId, Refusal> {
    let tenant = tenant.map(|folder| {
        folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    });
    if let Some(tenant) = &tenant {
        // The tenant is the first segment of its paths.
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        if tenant.len() > 64 || !tenant.chars().all(fits) {
            return Err(Refusal::Name(format!(
                "the tenant's folder {tenant:?} is not 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_`, `.`, `~`"
            )));
        }
    }
    match file.file_stem().and_then(|name| name.to_str()) {
        Some(name) if !name.chars().any(char::is_control) => Ok(PluginId {
            tenant,
            name: name.to_owned(),
        }),
        _ => Err(Refusal::Name(
            "it is not UTF-8 or has control characters".into(),
        )),
    }
}
