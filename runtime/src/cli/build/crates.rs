//! The crates that become plugins: which they are, and how Cargo builds them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What plugins are built for.
const TARGET: &str = "wasm32-wasip2";
/// The crate that plugins depend on.
const SDK: &str = "tulpar";
const NO_CARGO: &str = "cargo does not run; Rust is installed with https://rustup.rs";

/// Crates that become plugins.
pub(in super::super) struct Crates {
    /// Where a server for them would run.
    folder: PathBuf,
    packages: Vec<Package>,
    /// For Cargo.
    args: Vec<OsString>,
    /// Whether Cargo is to end with the wait for it.
    is_tied: bool,
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Of one that lies in a folder of this machine.
    path: Option<PathBuf>,
    /// `dev`, `build`, or none for what the code itself uses.
    kind: Option<String>,
}

/// A line of what `cargo build` says about what it has made.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Target {
    fn is_cdylib(&self) -> bool {
        self.kind.iter().any(|kind| kind == "cdylib")
    }
}

impl Package {
    fn has_cdylib(&self) -> bool {
        self.targets.iter().any(Target::is_cdylib)
    }

    fn is_plugin(&self) -> bool {
        let uses_sdk = self.dependencies.iter().any(|it| it.name == SDK);
        self.has_cdylib() && uses_sdk
    }

    fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    /// The folders of what it is built with, as far as they are of this machine. Its tests are not built.
    fn parts(&self) -> impl Iterator<Item = PathBuf> {
        let built = |it: &&Dependency| it.kind.as_deref() != Some("dev");
        let built = self.dependencies.iter().filter(built);
        built.filter_map(|it| it.path.clone())
    }
}

impl Crates {
    /// The crate whose folder `dir` is or lies in; else all plugins of the workspace that it belongs to.
    ///
    /// # Errors
    /// There is no crate, or none that is a plugin.
    pub(in super::super) fn find(dir: &Path, args: Vec<OsString>) -> Result<Self> {
        let shown = dir.display();
        let dir = dir.canonicalize();
        let dir = dir.with_context(|| format!("there is no folder {shown}"))?;
        let Metadata {
            mut packages,
            workspace_root,
        } = metadata(&dir)?;
        let here = packages
            .iter()
            .enumerate()
            .filter(|(_, package)| dir.starts_with(package.folder()))
            .max_by_key(|(_, package)| package.folder().as_os_str().len());
        let here = here.map(|(index, package)| (index, package.has_cdylib()));
        let (folder, packages) = match here {
            Some((index, true)) => {
                let package = packages.swap_remove(index);
                (package.folder().to_owned(), vec![package])
            }
            Some((index, false))
                if !packages.iter().any(Package::is_plugin) || dir != workspace_root =>
            {
                bail!(
                    "the crate `{}` is no plugin: in its Cargo.toml, a plugin has `crate-type = [\"cdylib\"]` under [lib]",
                    packages[index].name
                )
            }
            _ => {
                packages.retain(Package::is_plugin);
                (workspace_root, packages)
            }
        };
        if packages.is_empty() {
            bail!(
                "no crate of the workspace {} is a plugin: those have a cdylib and depend on `{SDK}`",
                folder.display()
            );
        }
        Ok(Self {
            folder,
            packages,
            args,
            is_tied: false,
        })
    }

    /// Has Cargo and what it has started end when nobody waits for it any more. Without that, a signal from the terminal
    /// reaches all of them by itself.
    pub(in super::super) fn tied(self) -> Self {
        Self {
            is_tied: true,
            ..self
        }
    }

    /// Where a server for them would run.
    pub(in super::super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folders in which a change means that they have to be built again: their own, and those of crates of this machine
    /// that they depend on, which may depend on others.
    pub(in super::super) fn sources(&self) -> BTreeSet<PathBuf> {
        let mut known = BTreeMap::new();
        let mut found = BTreeSet::new();
        let mut ahead = Vec::new();
        for package in &self.packages {
            found.insert(package.folder().to_owned());
            ahead.extend(package.parts());
        }
        while let Some(folder) = ahead.pop() {
            if !found.insert(folder.clone()) {
                continue;
            }
            if !known.contains_key(&folder)
                && let Ok(of_workspace) = metadata(&folder)
            {
                let packages = of_workspace.packages.into_iter();
                known.extend(packages.map(|it| (it.folder().to_owned(), it)));
            }
            // Of one that Cargo cannot tell about, Cargo says why when it builds.
            ahead.extend(known.get(&folder).into_iter().flat_map(Package::parts));
        }
        found
    }

    /// Sees to it that there is what a plugin is linked with.
    ///
    /// # Errors
    /// There is not.
    pub(in super::super) fn require_target(&self) -> Result<()> {
        let asked = std::process::Command::new("rustc")
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(&self.folder)
            .output();
        let Ok(asked) = asked else {
            bail!(NO_CARGO);
        };
        let folder = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        // Where it says nothing, Cargo will say why.
        if asked.status.success() && !Path::new(&folder).is_dir() {
            bail!(
                "the Rust target {TARGET} is missing; it is added with: rustup target add {TARGET}"
            );
        }
        Ok(())
    }

    /// Builds them. Cargo writes to the standard error as it always does. Returns the files that there are then; none when
    /// something does not compile.
    ///
    /// # Errors
    /// Cargo does not run.
    pub(in super::super) async fn build(&self) -> Result<Option<Vec<PathBuf>>> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--release", "--lib", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics");
        for package in &self.packages {
            cargo.arg("--package").arg(&package.id);
        }
        cargo
            .args(&self.args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if self.is_tied {
            cargo.process_group(0);
        }
        let mut child = cargo.spawn().context(NO_CARGO)?;
        let tie = self.is_tied.then(|| Tie(child.id()));
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            let read = stdout.read_to_string(&mut said).await;
            read.context("cargo cannot be listened to")?;
        }
        let status = child.wait().await.context("cargo cannot be waited for")?;
        if let Some(mut tie) = tie {
            tie.0 = None;
        }
        Ok(status.success().then(|| self.built(&said)))
    }

    /// The files among what Cargo says that it has made.
    fn built(&self, said: &str) -> Vec<PathBuf> {
        let mut files = BTreeSet::new();
        for line in said.lines() {
            let Ok(artifact) = serde_json::from_str::<Artifact>(line) else {
                continue;
            };
            let ours = artifact.reason == "compiler-artifact"
                && artifact.target.is_some_and(|target| target.is_cdylib())
                && self
                    .packages
                    .iter()
                    .any(|package| Some(&package.id) == artifact.package_id.as_ref());
            let wasm = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "wasm");
            if ours {
                files.extend(artifact.filenames.into_iter().filter(wasm));
            }
        }
        files.into_iter().collect()
    }
}

/// Ends a group of processes when it is dropped.
struct Tie(Option<u32>);

impl Drop for Tie {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

fn metadata(dir: &Path) -> Result<Metadata> {
    let asked = std::process::Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(dir)
        .output();
    let asked = asked.context(NO_CARGO)?;
    if !asked.status.success() {
        let said = String::from_utf8_lossy(&asked.stderr);
        if said.contains("could not find `Cargo.toml`") {
            bail!(
                "there is no crate in {}, as neither it nor a folder above it has a Cargo.toml; \
                 `tulpar new NAME` makes one",
                dir.display()
            );
        }
        bail!(
            "cargo cannot tell what is in {}: {}",
            dir.display(),
            said.trim()
        );
    }
    serde_json::from_slice(&asked.stdout).context("cargo metadata says something unexpected")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_dependency_depends_on_is_a_source_and_what_tests_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let make = |name: &str, rest: &str| {
            let of_it = folder.join(name);
            fs::create_dir_all(of_it.join("src")).unwrap();
            fs::write(of_it.join("src/lib.rs"), "").unwrap();
            let package = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n");
            fs::write(of_it.join("Cargo.toml"), package + rest).unwrap();
        };
        make(
            "chat",
            "[workspace]\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nshared = { path = \"../shared\" }\n\
             [dev-dependencies]\nonly-tests = { path = \"../only-tests\" }",
        );
        make(
            "shared",
            "[dependencies]\nmodel = { path = \"../model\" }\n[build-dependencies]\nmaker = { path = \"../maker\" }",
        );
        // Back to where it is used: such a circle is allowed for tests.
        make(
            "model",
            "[dev-dependencies]\nshared = { path = \"../shared\" }",
        );
        for name in ["maker", "only-tests", "stranger"] {
            make(name, "");
        }
        let crates = Crates::find(&folder.join("chat"), Vec::new()).unwrap();
        let expected = ["chat", "maker", "model", "shared"];
        assert_eq!(
            crates.sources(),
            expected.map(|name| folder.join(name)).into()
        );
    }
}
