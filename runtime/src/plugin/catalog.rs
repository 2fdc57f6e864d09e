//! The plugins of a folder: which there are, which are refused, and which come while the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Shared;
use super::describe::Loaded;
use super::load::{Refusal, load};
use crate::ids::PluginId;

/// All plugins of a folder.
pub struct Catalog {
    shared: Arc<Shared>,
    folder: PathBuf,
    loaded: Vec<Arc<Loaded>>,
    /// Every file that has been looked at, as it was then, with the reason when it is not served.
    seen: BTreeMap<PathBuf, (Stamp, Option<Refusal>)>,
    /// Files that were new or different at the last look. They are loaded when they stay as they are until the next,
    /// so that a file that is still being written is left alone.
    settling: BTreeMap<PathBuf, Stamp>,
}

/// What tells that a file has changed. None when it cannot be asked.
type Stamp = Option<(u64, SystemTime)>;

/// What a look at the folder has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are served now.
    pub loaded: Vec<PathBuf>,
    /// Files that are refused.
    pub refused: Vec<PathBuf>,
    /// Files that were served and have changed or gone; what was loaded of them serves on.
    pub stale: Vec<PathBuf>,
}

impl Catalog {
    /// Loads everything in `folder`, in the order of the files' names, those of tenants last.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn open(shared: Arc<Shared>, folder: &Path) -> anyhow::Result<Self> {
        let mut catalog = Self {
            shared,
            folder: folder.to_owned(),
            loaded: Vec::new(),
            seen: BTreeMap::new(),
            settling: BTreeMap::new(),
        };
        let found = scan(folder).map_err(|error| {
            anyhow::anyhow!(
                "cannot read the plugins folder {}: {error}",
                folder.display()
            )
        })?;
        for (file, id) in found {
            let stamp = stamp(&file);
            catalog.add(file, id, stamp).await;
        }
        Ok(catalog)
    }

    /// The plugins that are loaded, in the order of their loading.
    #[must_use]
    pub fn loaded(&self) -> &[Arc<Loaded>] {
        &self.loaded
    }

    /// The files that are refused, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&Path, &Refusal)> {
        self.seen
            .iter()
            .filter_map(|(file, (_, refusal))| Some((file.as_path(), refusal.as_ref()?)))
    }

    /// Looks at the folder once more, and loads what is new since the last look but one.
    pub async fn look_again(&mut self) -> Changes {
        let mut changes = Changes::default();
        let found = match scan(&self.folder) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    "cannot read the plugins folder {}: {error}",
                    self.folder.display()
                );
                return changes;
            }
        };
        let settling = std::mem::take(&mut self.settling);
        let files: BTreeSet<_> = found.iter().map(|(file, _)| file.clone()).collect();
        for (file, id) in found {
            let now = stamp(&file);
            match self.seen.get(&file) {
                Some((then, _)) if *then == now => {}
                Some((_, None)) => {
                    changes.stale.push(file.clone());
                    self.seen.insert(file.clone(), (now, None));
                }
                _ if settling.get(&file) == Some(&now) => {
                    match self.add(file.clone(), id, now).await {
                        true => changes.loaded.push(file.clone()),
                        false => changes.refused.push(file.clone()),
                    }
                }
                _ => {
                    self.settling.insert(file, now);
                }
            }
        }
        let gone: Vec<_> = self
            .seen
            .keys()
            .filter(|file| !files.contains(*file))
            .cloned()
            .collect();
        for file in gone {
            match self.seen.get_mut(&file) {
                // A refused file that has gone is forgotten.
                Some((_, Some(_))) => _ = self.seen.remove(&file),
                // One that is served is mentioned once.
                Some((stamp @ Some(_), None)) => {
                    *stamp = None;
                    changes.stale.push(file);
                }
                _ => {}
            }
        }
        changes
    }

    /// Loads one file. Returns whether it is served.
    async fn add(&mut self, file: PathBuf, id: Result<PluginId, Refusal>, stamp: Stamp) -> bool {
        let outcome = match id {
            Ok(id) => load(&self.shared, id, &file).await,
            Err(refusal) => Err(refusal),
        };
        let refusal = match outcome.and_then(|loaded| self.check_free(loaded)) {
            Ok(loaded) => {
                self.loaded.push(Arc::new(loaded));
                None
            }
            Err(refusal) => Some(refusal),
        };
        let served = refusal.is_none();
        self.seen.insert(file, (stamp, refusal));
        served
    }

    /// The plugin, unless another has its path, or one of the same tenant its middleware's or service's name.
    fn check_free(&self, new: Loaded) -> Result<Loaded, Refusal> {
        for old in &self.loaded {
            let taken = |what: String| Refusal::Taken {
                what,
                holder: old.plugin.id().to_string(),
            };
            if let (Some(a), Some(b)) = (&old.namespace, &new.namespace)
                && a.sockets.path() == b.sockets.path()
            {
                return Err(taken(format!("the path {}", a.sockets.path())));
            }
            if let Some(path) = lies_in(old, &new).or_else(|| lies_in(&new, old)) {
                return Err(taken(format!("what is below {path}")));
            }
            if let (Some(a), Some(b)) = (&old.controller, &new.controller)
                && a.mount == b.mount
            {
                return Err(taken(format!("the controller path {}/", a.mount)));
            }
            let same_tenant = old.plugin.id().tenant == new.plugin.id().tenant;
            if let (Some(a), Some(b)) = (&old.middleware, &new.middleware)
                && a == b
                && same_tenant
            {
                return Err(taken(format!("the middleware name {a}")));
            }
            if let (Some(a), Some(b)) = (&old.service, &new.service)
                && a.name == b.name
                && same_tenant
            {
                return Err(taken(format!("the service name {}", a.name)));
            }
        }
        Ok(new)
    }
}

/// The path of a tenant whose plugins would serve a part of what a controller of the root folder serves, past its
/// middlewares.
fn lies_in(root: &Loaded, of_tenant: &Loaded) -> Option<String> {
    let controller = root.controller.as_ref()?;
    let tenant = of_tenant.plugin.id().tenant.as_ref()?;
    let first = controller.mount.split('/').nth(1)?;
    let serves = of_tenant.controller.is_some() || of_tenant.namespace.is_some();
    (root.plugin.id().tenant.is_none() && first == tenant && serves).then(|| format!("/{tenant}"))
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// A file of the folder, and the plugin it is, or why it cannot be one.
type Found = (PathBuf, Result<PluginId, Refusal>);

/// The `.wasm` files of the folder and of the folders in it, which are tenants.
fn scan(folder: &Path) -> std::io::Result<Vec<Found>> {
    let mut files = Vec::new();
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
        for path in entries(&tenant).unwrap_or_default() {
            if path.extension().is_some_and(|ending| ending == "wasm") {
                files.push((path.clone(), identify(Some(&tenant), &path)));
            }
        }
    }
    Ok(files)
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

fn identify(tenant: Option<&Path>, file: &Path) -> Result<PluginId, Refusal> {
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
