//! `tulpar check`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::paint::{BAD, GOOD};
use super::{config_file_if_any, environment, wait};
use crate::config::Config;
use crate::plugin::host::one_line;
use crate::plugin::inspect::{Inspection, Inspector};
use crate::plugin::metadata::Handler;

#[derive(Args)]
#[command(after_help = "\
It takes the same steps as a server that finds the file in its folder, but for running it: it reads, validates and
compiles it, looks whether everything that it imports is offered, and checks what it says of itself in its section
`tulpar:plugin`. What only shows when it runs is not found: a describe() that traps, a path that another plugin has.

It ends with 0 when nothing speaks against any file, else with 1.

Examples:
  tulpar check plugins/chat.wasm
  tulpar check plugins/*.wasm && systemctl start tulpar
  tulpar inspect plugins/chat.wasm       everything that is known of one file")]
pub(super) struct Check {
    /// The .wasm files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration file, for its limits [default: tulpar.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let inspector = inspector(self.config)?;
        let mut all_fit = true;
        for file in &self.files {
            let found = wait(inspector.inspect(file))?;
            all_fit &= found.refused.is_none();
            // Whoever reads this may have seen enough.
            let _ = anstream::stdout().write_all(in_a_line(&found).as_bytes());
        }
        Ok(match all_fit {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// One that refuses what a server with that configuration does.
pub(super) fn inspector(config: Option<PathBuf>) -> Result<Inspector> {
    let config = Config::load_without_values(config_file_if_any(config).as_deref(), environment())?;
    Inspector::new(&config.limits)
}

/// Whether a file would be served, and as what.
pub(super) fn in_a_line(found: &Inspection) -> String {
    let file = one_line(&found.file);
    if let Some(refusal) = &found.refused {
        return format!("{BAD}refused{BAD:#} {file}: {refusal}\n");
    }
    let handlers = found.handlers.iter().flatten();
    let handlers: Vec<_> = handlers.map(in_short).collect();
    let mut line = format!("{GOOD}fits{GOOD:#} {file}");
    if !handlers.is_empty() {
        _ = write!(line, ": {}", handlers.join(", "));
    }
    line + "\n"
}

fn in_short(handler: &Handler) -> String {
    match handler {
        Handler::Namespace { path, .. } => format!("namespace {path}"),
        Handler::Middleware { name } => format!("middleware {name}"),
        Handler::Controller { path, .. } => format!("controller {path}"),
        Handler::Service { name, .. } => format!("service {name}"),
    }
}
