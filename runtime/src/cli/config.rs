//! `tulpar config`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::flags::Flags;
use super::paint::ASIDE;
use crate::config::{Setting, Source};

#[derive(Args)]
#[command(after_help = "\
It prints what `tulpar serve` with the same flags in the same folder would serve with, in the form of its configuration
file, and behind each setting who says so: a flag, a variable of the environment, a line of the file, or nobody.
Texts that plugins read as their configuration may be secrets and are not shown; where they are found is.

Examples:
  tulpar config                            everything
  tulpar config --changed                  what is not as it would be if nobody said anything
  tulpar config --config /etc/tulpar.toml  is this file valid, and what does it do?
  tulpar config --changed --json           the same for programs")]
pub(super) struct Config {
    #[command(flatten)]
    flags: Flags,
    /// Only what somebody has said
    #[arg(long)]
    changed: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Config {
    pub(super) fn run(mut self) -> Result<ExitCode> {
        let mut settings = self.flags.load()?.settings();
        settings.retain(|setting| !self.changed || setting.source != Source::Default);
        let text = match self.json {
            true => serde_json::to_string_pretty(&settings)? + "\n",
            false => in_toml(&settings),
        };
        // Whoever reads this may have seen enough.
        let _ = anstream::stdout().write_all(text.as_bytes());
        Ok(ExitCode::SUCCESS)
    }
}

/// The settings as one would write them into a file, with where they come from.
fn in_toml(settings: &[Setting]) -> String {
    let mut lines = Vec::new();
    let mut table = String::new();
    for setting in settings {
        let (of, key) = setting.names();
        if of != table {
            if !lines.is_empty() {
                lines.push((String::new(), String::new()));
            }
            lines.push((format!("[{of}]"), String::new()));
            table = of;
        }
        let said = match &setting.value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} = ... (not shown)"),
        };
        lines.push((said, setting.source.to_string()));
    }
    // A long one does not push all others to the right.
    let widths = lines.iter().map(|(said, _)| said.chars().count());
    let width = widths.filter(|width| *width <= 48).max().unwrap_or(0);
    let mut text = String::new();
    for (said, source) in lines {
        _ = match source.is_empty() {
            true => writeln!(text, "{said}"),
            false => writeln!(text, "{said:width$}  {ASIDE}# {source}{ASIDE:#}"),
        };
    }
    text
}
