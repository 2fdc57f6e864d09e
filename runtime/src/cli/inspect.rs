//! `tulpar inspect`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::check::inspector;
use super::paint::{ASIDE, BAD, GOOD, HEAD};
use super::table::or_dash;
use super::wait;
use crate::plugin::host::one_line;
use crate::plugin::inspect::{Inspection, Producer};
use crate::plugin::metadata::Handler;

/// How wide the names at the left are.
const NAMES: usize = 12;

#[derive(Args)]
#[command(after_help = "\
The file is not run: what it serves is what it says of itself in its section `tulpar:plugin`. Components that were made
without the macros of the crate `tulpar` may have none; what those serve is known when they run.

It ends with 0 when the file would be served as far as that can be known, else with 1.

Examples:
  tulpar inspect plugins/chat.wasm
  tulpar inspect plugins/chat.wasm --json | jq .imports")]
pub(super) struct Inspect {
    /// The .wasm file
    file: PathBuf,
    /// The configuration file, for its limits [default: tulpar.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<ExitCode> {
        let inspector = inspector(self.config)?;
        let found = wait(inspector.inspect(&self.file))?;
        let text = match self.json {
            true => serde_json::to_string_pretty(&found)? + "\n",
            false => page(&found)?,
        };
        // Whoever reads this may have seen enough.
        let _ = anstream::stdout().write_all(text.as_bytes());
        Ok(match found.refused {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        })
    }
}

/// Everything that is known of a file, for people.
fn page(found: &Inspection) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let t = &mut text;
    writeln!(t, "{HEAD}{}{HEAD:#}", one_line(&found.file))?;
    match &found.refused {
        Some(refusal) => writeln!(t, "{BAD}would be refused:{BAD:#} it {refusal}")?,
        None => writeln!(t, "{GOOD}would be served{GOOD:#}")?,
    }
    for note in &found.notes {
        writeln!(t, "{ASIDE}note:{ASIDE:#} {note}")?;
    }
    if let Some(bytes) = found.bytes {
        line(t, "size", &format!("{bytes} bytes"))?;
    }
    if let Some(hash) = &found.blake3 {
        line(t, "blake3", hash)?;
    }
    let producers = &found.outline.producers;
    if !producers.is_empty() {
        let made: Vec<_> = producers.iter().map(tool).collect();
        line(t, "made by", &one_line(&made.join(", ")))?;
    }
    if found.outline.core_modules > 0 {
        line(t, "modules", &found.outline.core_modules.to_string())?;
    }
    if let Some(handlers) = &found.handlers {
        heading(t, "serves")?;
        for handler in handlers {
            let (kind, what) = described(handler);
            line(t, kind, &one_line(&what))?;
        }
    }
    for (title, names) in [
        ("exports", &found.outline.exports),
        ("imports", &found.outline.imports),
    ] {
        if !names.is_empty() {
            heading(t, title)?;
        }
        for (package, interfaces) in by_package(names) {
            let listed = interfaces.join(", ");
            match package.is_empty() {
                true => writeln!(t, "  {}", one_line(&listed))?,
                false => writeln!(t, "  {}", one_line(&format!("{package:24} {listed}")))?,
            }
        }
    }
    if !found.needs.is_empty() {
        heading(t, "needs")?;
        for need in &found.needs {
            line(t, need.what, &one_line(&need.why))?;
        }
    }
    Ok(text)
}

fn heading(text: &mut String, title: &str) -> fmt::Result {
    writeln!(text, "\n{HEAD}{title}{HEAD:#}")
}

fn line(text: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(text, "  {name:NAMES$}{value}")
}

fn tool(producer: &Producer) -> String {
    format!("{} {}", producer.name, producer.version)
        .trim_end()
        .to_owned()
}

/// What kind of handler it is, and what it says of itself.
fn described(handler: &Handler) -> (&'static str, String) {
    let behind = |middlewares: &[String]| match middlewares.is_empty() {
        true => String::new(),
        false => format!(", behind {}", middlewares.join(" > ")),
    };
    match handler {
        Handler::Namespace {
            path,
            name,
            middlewares,
            protocols,
        } => {
            let speaks = match protocols.is_empty() {
                true => String::new(),
                false => format!(", speaks {}", protocols.join(", ")),
            };
            (
                "namespace",
                format!("{path} ({name}){}{speaks}", behind(middlewares)),
            )
        }
        Handler::Middleware { name } => ("middleware", name.clone()),
        Handler::Controller {
            path,
            name,
            middlewares,
        } => (
            "controller",
            format!("{path} ({name}){}", behind(middlewares)),
        ),
        Handler::Service { name, schedules } => {
            let schedules: Vec<_> = schedules
                .iter()
                .map(|schedule| match (&schedule.cron, schedule.every_ms) {
                    (Some(cron), _) => format!("{} at {cron:?}", schedule.name),
                    (None, ms) => format!("{} every {} ms", schedule.name, ms.unwrap_or(0)),
                })
                .collect();
            (
                "service",
                format!("{name}, schedules: {}", or_dash(schedules.join(", "))),
            )
        }
    }
}

/// Names as `PACKAGE/INTERFACE@VERSION` by `PACKAGE@VERSION`, in the order of their first; others for themselves.
fn by_package(names: &[String]) -> Vec<(String, Vec<&str>)> {
    let mut places = BTreeMap::new();
    let mut packages: Vec<(String, Vec<&str>)> = Vec::new();
    for name in names {
        let (package, interface) = match name.split_once('/') {
            Some((package, rest)) => match rest.split_once('@') {
                Some((interface, version)) => (format!("{package}@{version}"), interface),
                None => (package.to_owned(), rest),
            },
            None => (String::new(), name.as_str()),
        };
        let place = *places.entry(package.clone()).or_insert_with(|| {
            packages.push((package, Vec::new()));
            packages.len() - 1
        });
        packages[place].1.push(interface);
    }
    packages
}
