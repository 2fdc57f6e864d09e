//! Building plugins: by the cargo that runs the test, into a folder of their own.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The target that plugins are built for.
const TARGET: &str = "wasm32-wasip2";
/// Names another folder to build plugins in, for a workspace that has one.
const FOLDER: &str = "TULPAR_TEST_TARGET_DIR";

/// What a crate is built by, and what has come of it.
type Built = BTreeMap<(PathBuf, Option<String>), Result<Component, String>>;

/// What a plugin consists of.
#[derive(Clone)]
pub(crate) struct Component {
    /// Where it is read from. Its name is the plugin's.
    pub(crate) file: PathBuf,
    /// The file as it was then: what is built later may have its place.
    pub(crate) content: Vec<u8>,
}

/// What has been built by this process. Held while one is built, so that each is built once.
static BUILT: Mutex<Built> = Mutex::new(BTreeMap::new());

/// Builds the plugin that a crate is, or one of its examples.
pub(crate) fn build(folder: &Path, example: Option<&str>) -> Result<Component, String> {
    let folder = here()?.join(folder);
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest
        .canonicalize()
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (manifest.clone(), example.map(str::to_owned));
    if let Some(built) = built.get(&key) {
        return built.clone();
    }
    let component = run_cargo(&manifest, example).and_then(|file| {
        let mut others = built
            .iter()
            .filter_map(|((manifest, _), it)| Some((manifest, it.as_ref().ok()?)));
        // Of two packages with one name cargo may take the one for what it has built of the other.
        match others.find(|(_, it)| it.file == file) {
            Some((other, _)) => Err(format!(
                "{} and {} are both built as {}: give one of them another name",
                other.display(),
                manifest.display(),
                file.display()
            )),
            None => read(file),
        }
    });
    built.insert(key, component.clone());
    component
}

/// Reads a component.
pub(crate) fn read(file: PathBuf) -> Result<Component, String> {
    match fs::read(&file) {
        Ok(content) => Ok(Component { file, content }),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}

/// The folder for what is built and compiled.
pub(crate) fn target_folder() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Ok(folder.into());
    }
    // The test itself is in target/debug/deps.
    let test = env::current_exe().map_err(|error| error.to_string())?;
    let target = test
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(target
        .map_or_else(env::temp_dir, Path::to_owned)
        .join("tulpar-test"))
}

/// The crate whose test this is.
fn here() -> Result<PathBuf, String> {
    env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| "a test that builds its plugin has to be run by `cargo test`".to_owned())
}

fn run_cargo(manifest: &Path, example: Option<&str>) -> Result<PathBuf, String> {
    let mut cargo = cargo();
    cargo
        .args(["build", "--release", "--target", TARGET, "--quiet"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_folder()?);
    match example {
        Some(name) => cargo.args(["--example", name]),
        None => cargo.arg("--lib"),
    };
    // Somewhere else there could be settings for other crates.
    cargo.current_dir(manifest.parent().unwrap_or(manifest));
    let output = cargo
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{cargo:?} does not run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = match is_installed() {
            true => "",
            false => "\nthe Rust target is not installed: rustup target add wasm32-wasip2",
        };
        return Err(format!(
            "{} does not build:\n{said}{hint}",
            manifest.display()
        ));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let artifacts = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut components = artifacts.filter_map(|artifact| component(&artifact, manifest, example));
    components.next().ok_or_else(|| {
        format!(
            "{} is no plugin: its [lib] needs crate-type = [\"cdylib\"]",
            manifest.display()
        )
    })
}

/// The component among what cargo says it has built, when it is the one of that crate.
fn component(artifact: &Value, manifest: &Path, example: Option<&str>) -> Option<PathBuf> {
    let of = Path::new(artifact["manifest_path"].as_str()?);
    if of != manifest || example.is_some_and(|name| artifact["target"]["name"] != name) {
        return None;
    }
    let files = artifact["filenames"].as_array()?.iter();
    let mut files = files.filter_map(Value::as_str).map(PathBuf::from);
    files.find(|file| file.extension() == Some(OsStr::new("wasm")))
}

fn is_installed() -> bool {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    libraries.is_ok_and(|libraries| {
        Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir()
    })
}

/// A cargo that knows nothing of the one that runs the test: what that one is told about flags, wrappers, profiles and
/// targets is meant for this machine.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (key, _) in env::vars_os() {
        if is_of_the_outer_build(&key) {
            cargo.env_remove(key);
        }
    }
    cargo
}

fn is_of_the_outer_build(key: &OsStr) -> bool {
    const KEPT: [&str; 5] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    const OTHERS: [&str; 8] = [
        "RUSTFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOC",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    let Some(key) = key.to_str() else {
        return false;
    };
    let cargo_own = key.starts_with("CARGO_") && !KEPT.iter().any(|kept| key.starts_with(kept));
    cargo_own || OTHERS.contains(&key)
}
