//! The files of the plugins folder: which there are, whose they are, and what tells that one has changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::load::Refusal;
use crate::ids::PluginId;

/// The longest name of a plugin that is put into the folder from elsewhere, in bytes. File systems take 255, of which
/// some are for the ending.
const LONGEST_NAME: usize = 200;

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

/// Whether a file is in one of these folders.
pub(super) fn lies_in(file: &Path, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| file.parent() == Some(folder))
}

/// The file of the plugin with that key, see [`PluginId::key`].
pub(super) fn file_of(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.wasm"))
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
    if let Some(problem) = tenant.as_deref().and_then(tenant_problem) {
        return Err(Refusal::Name(problem));
    }
    match file.file_stem().and_then(|name| name.to_str()) {
        Some(name) if name.ends_with(".wasm") => {
            Err(Refusal::Name("it ends in `.wasm` twice".into()))
        }
        Some(name) if !name.chars().any(char::is_control) => Ok(PluginId {
            tenant,
            name: name.to_owned(),
        }),
        _ => Err(Refusal::Name(
            "it is not UTF-8 or has control characters".into(),
        )),
    }
}

/// Why no tenant can be called that; none when one can. It is the first segment of its paths.
fn tenant_problem(tenant: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    (tenant.len() > 64 || !tenant.chars().all(fits)).then(|| {
        format!(
            "the tenant's folder {tenant:?} is not 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_`, `.`, `~`"
        )
    })
}

/// Where in the folder the file of the plugin is that is called so: `NAME`, or `TENANT/NAME`.
///
/// # Errors
/// No plugin can be called that.
pub fn place(key: &str) -> Result<PathBuf, String> {
    let (tenant, name) = match key.split_once('/') {
        Some((tenant, name)) => (Some(tenant), name),
        None => (None, key),
    };
    let is_left_alone = |part: &str| part.is_empty() || part.starts_with(['.', '_']);
    let problem = tenant.and_then(tenant_problem);
    if let Some(problem) = problem {
        return Err(problem);
    }
    if is_left_alone(name) || tenant.is_some_and(is_left_alone) {
        return Err(format!(
            "{key:?} names no plugin: NAME or TENANT/NAME, neither beginning with `.` or `_`"
        ));
    }
    if name.contains('/') || name.chars().any(char::is_control) || name.len() > LONGEST_NAME {
        return Err(format!(
            "the name {name:?} is longer than {LONGEST_NAME} bytes, or has a `/` or a control character"
        ));
    }
    if [Some(name), tenant]
        .into_iter()
        .flatten()
        .any(|it| it.ends_with(".wasm"))
    {
        return Err(format!("{key:?} ends in `.wasm`, which is added to a name"));
    }
    Ok(Path::new(tenant.unwrap_or_default()).join(format!("{name}.wasm")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_one_place_in_the_folder() {
        let longest = "n".repeat(LONGEST_NAME);
        let longest_tenant = format!("{}/a", "t".repeat(64));
        for good in [
            "chat",
            "acme/chat",
            "a b",
            "chat.v2",
            "ä",
            "log",
            &longest,
            &longest_tenant,
        ] {
            assert_eq!(place(good), Ok(format!("{good}.wasm").into()));
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let too_long = "n".repeat(LONGEST_NAME + 1);
        let too_long_tenant = format!("{}/a", "t".repeat(65));
        for bad in [
            "",
            ".",
            "..",
            ".a",
            "_a",
            "/a",
            "/etc/a",
            "../a",
            "a/..",
            "a/../b",
            "a/.b",
            "a/_b",
            ".a/b",
            "_a/b",
            "a/b/c",
            "a/",
            "a\0",
            "a\nb",
            "a b/c",
            "ä/c",
            "chat.wasm",
            "acme/chat.wasm",
            "acme.wasm/chat",
            "a//b",
            &too_long,
            &too_long_tenant,
        ] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }
}
