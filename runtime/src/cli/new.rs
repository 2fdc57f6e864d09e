//! `tulpar new`.

mod crate_name;
mod template;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use toml::Table;

use self::crate_name::CrateName;
use self::template::{Filled, Kind, TOOLCHAIN};
use super::paint::{GOOD, HEAD};

#[derive(Args)]
#[command(after_help = "\
It makes a folder with a crate that builds as it is, its test, and nothing else. What is there already is never touched.

  namespace    handles the WebSockets of a path
  middleware   decides about requests before they reach a namespace or a controller
  service      works in the background, when it starts, at times and when it stops
  controller   answers HTTP requests to a path and what is below it

Examples:
  tulpar new hello                        hello/, a namespace at /hello
  tulpar new door --kind middleware       what namespaces list as \"door\"
  tulpar new plugins/notes --kind controller
  cd hello && tulpar dev                  build and serve it, again at each save")]
pub(super) struct New {
    /// The crate's name, which is its folder's: lower-case letters, digits, - and _. A path before it says where
    name: PathBuf,
    /// What it is
    #[arg(long, value_enum, default_value_t = Kind::Namespace)]
    kind: Kind,
    /// A checkout's folder guest-sdk to depend on, instead of a published version
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<ExitCode> {
        let folder = &self.name;
        let name = CrateName::of(folder)?;
        let sdk = sdk(self.sdk.as_deref())?;
        if folder.symlink_metadata().is_ok() {
            bail!("{} is there already; nothing was changed", folder.display());
        }
        let filled = Filled::new(self.kind, &name, sdk.as_deref());
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        for (path, text) in filled.files() {
            write(&folder.join(path), &text)?;
        }
        if !is_pinned(folder) {
            write(&folder.join(TOOLCHAINS[0]), TOOLCHAIN)?;
        }
        let manifest = folder.join("Cargo.toml");
        append(&manifest, filled.end_of_manifest(surroundings(&manifest)))?;

        let what = filled.what();
        let shown = folder.display();
        // Whoever reads this may have seen enough.
        let _ = writeln!(
            anstream::stdout(),
            "{GOOD}made{GOOD:#} {shown}/, a {}: {what}\n\n\
             \x20 {HEAD}cd {shown}{HEAD:#}\n\
             \x20 {HEAD}tulpar dev{HEAD:#}    builds and serves it, again at each save\n\
             \x20 {HEAD}cargo test{HEAD:#}    runs its test",
            self.kind.word(),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The files by which rustup knows which toolchain a folder wants.
const TOOLCHAINS: [&str; 2] = ["rust-toolchain.toml", "rust-toolchain"];

/// Whether a folder above says which toolchain is wanted: a file in the folder itself would hide that.
fn is_pinned(folder: &Path) -> bool {
    let folder = folder.canonicalize().unwrap_or_default();
    let mut above = folder.ancestors().skip(1);
    above.any(|it| TOOLCHAINS.iter().any(|name| it.join(name).exists()))
}

/// Where Cargo finds a new crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    /// In no workspace.
    Alone,
    /// In one that lists it.
    Member,
    /// Below one that does not list it.
    Stranger,
}

/// What Cargo thinks of it. Where there is no Cargo it is alone.
fn surroundings(manifest: &Path) -> Surroundings {
    let located = Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .arg("--manifest-path")
        .arg(manifest)
        .output();
    let Ok(located) = located else {
        return Surroundings::Alone;
    };
    if !located.status.success() {
        return match String::from_utf8_lossy(&located.stderr)
            .contains("believes it's in a workspace")
        {
            true => Surroundings::Stranger,
            false => Surroundings::Alone,
        };
    }
    let root = PathBuf::from(String::from_utf8_lossy(&located.stdout).trim());
    let same = root.canonicalize().ok() == manifest.canonicalize().ok();
    match same {
        true => Surroundings::Alone,
        false => Surroundings::Member,
    }
}

/// The folder of the crate `tulpar` to depend on; none for the published one.
fn sdk(named: Option<&Path>) -> Result<Option<PathBuf>> {
    // Where this program was built, the crate is beside it.
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    let folder = match named {
        Some(folder) => folder,
        None if beside.join("Cargo.toml").is_file() => &beside,
        None => return Ok(None),
    };
    if !is_sdk(folder) {
        let within = folder.join("guest-sdk");
        let hint = match is_sdk(&within) {
            true => format!(", which is {}", within.display()),
            false => String::new(),
        };
        bail!(
            "there is no crate `tulpar` in {}: --sdk wants a checkout's folder guest-sdk{hint}",
            folder.display()
        );
    }
    let folder = folder.canonicalize();
    Ok(Some(folder.context("cannot find out where the crate is")?))
}

/// Whether the crate in a folder is the one that plugins depend on.
fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"));
    let manifest = manifest.ok().and_then(|text| text.parse::<Table>().ok());
    let name = manifest
        .as_ref()
        .and_then(|it| it.get("package")?.get("name"));
    name.is_some_and(|name| name.as_str() == Some("tulpar"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    let wrong = || format!("cannot write {}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(wrong)?;
    }
    std::fs::write(file, text).with_context(wrong)
}

fn append(file: &Path, text: &str) -> Result<()> {
    let opened = std::fs::File::options().append(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}
