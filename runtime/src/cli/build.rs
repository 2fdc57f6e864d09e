//! `tulpar build`.

pub(super) mod crates;
pub(super) mod place;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use self::crates::Crates;
use self::place::{Placed, place};
use super::check::in_a_line;
use super::paint::{ASIDE, BAD, GOOD};
use super::{config_file_if_any, environment, wait};
use crate::config::Config;
use crate::plugin::inspect::Inspector;

#[derive(Args)]
#[command(after_help = "\
It runs `cargo build --release --target wasm32-wasip2` for the crate in DIR, or, in a workspace's folder, for all of its
crates that are plugins: those with a cdylib that depend on `tulpar`. What came of it is checked as by `tulpar check`,
and what a server would not refuse is put where `tulpar serve` in that folder looks, in one step, so that a server that
runs never finds half of it.

Examples:
  tulpar build                              the crate here, into plugins/
  tulpar build hello                        the one in hello/, into hello/plugins/
  tulpar build --plugins /srv/tulpar/plugins
  tulpar build -- --features extra          what is behind -- is for Cargo")]
pub(super) struct Build {
    #[command(flatten)]
    what: What,
    /// The folder to put the .wasm files into [default: the setting `plugins`, which is plugins/]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

/// What to build.
#[derive(Args)]
pub(super) struct What {
    /// The folder of the crate or workspace
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Arguments for Cargo
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

impl What {
    /// Finds the crates, and goes on in their folder: settings and paths are what they are for a server there.
    pub(super) fn enter(self) -> Result<Crates> {
        let crates = Crates::find(&self.dir, self.cargo)?;
        let folder = crates.folder();
        std::env::set_current_dir(folder)
            .with_context(|| format!("cannot work in {}", folder.display()))?;
        crates.require_target()?;
        Ok(crates)
    }
}

impl Build {
    pub(super) fn run(self) -> Result<ExitCode> {
        // Of the folder where it was said.
        let plugins = self.plugins.map(std::path::absolute).transpose();
        let plugins = plugins.context("cannot find out where that is")?;
        let crates = self.what.enter()?;
        let config =
            Config::load_without_values(config_file_if_any(None).as_deref(), environment())?;
        let plugins = plugins.unwrap_or_else(|| config.plugins.clone());
        let Some(built) = wait(crates.build())?? else {
            // Cargo has said why.
            return Ok(ExitCode::FAILURE);
        };
        let inspector = Inspector::new(&config.limits)?;
        let mut all_fit = true;
        for file in built {
            all_fit &= wait(take(&inspector, &file, &plugins))??;
        }
        Ok(match all_fit {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Checks what was built, and puts it into the plugins folder. Returns whether it fits.
async fn take(inspector: &Inspector, file: &Path, plugins: &Path) -> Result<bool> {
    let mut found = inspector.inspect(file).await;
    let fits = found.refused.is_none();
    let text = match fits {
        true => {
            let placed = place(file, plugins)?;
            found.file = placed.file.display().to_string();
            in_a_line(&found) + &in_place(&placed)
        }
        false => format!(
            "{}{BAD}nothing put{BAD:#} into {} for it\n",
            in_a_line(&found),
            plugins.display()
        ),
    };
    // Whoever reads this may have seen enough.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(fits)
}

/// What has become of a file, in a line.
pub(super) fn in_place(placed: &Placed) -> String {
    let (file, bytes) = (placed.file.display(), placed.bytes);
    match placed.is_new {
        true => format!("{GOOD}new{GOOD:#}  {file}: {bytes} bytes\n"),
        false => format!("{ASIDE}same {file} as before{ASIDE:#}\n"),
    }
}
