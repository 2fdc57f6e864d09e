//! The command line: a file for each command.

mod build;
mod check;
mod completions;
mod config;
mod dev;
mod flags;
mod inspect;
mod new;
mod paint;
mod plugins;
mod serve;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use self::paint::BAD;
use crate::config::ConfigError;
use crate::plugin::compile;

/// Something in the configuration or on the command line is wrong; clap's own code for it.
const USAGE: u8 = 2;

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "tulpar.toml";

/// The configuration file: the one that is named, else the default one when it is there.
///
/// # Errors
/// Whether it is there cannot be found out.
fn config_file(named: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    if named.is_some() {
        return Ok(named);
    }
    let path = PathBuf::from(DEFAULT_FILE);
    match path.try_exists() {
        Ok(is_there) => Ok(is_there.then_some(path)),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

/// The same for who only looks: where nobody may find out whether it is there, it is not.
fn config_file_if_any(named: Option<PathBuf>) -> Option<PathBuf> {
    config_file(named).ok().flatten()
}

/// The variables of the environment that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// What comes of it, on this thread.
fn wait<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot wait for anything")?;
    Ok(runtime.block_on(work))
}

#[derive(Parser)]
#[command(
    name = "tulpar",
    version,
    about = "A WebSocket application server whose handlers are sandboxed WebAssembly components",
    arg_required_else_help = true,
    after_help = "\
To begin with:
  tulpar new hello && cd hello && tulpar dev    write a plugin, and see it at http://127.0.0.1:3000/
  tulpar serve                                  serve the .wasm files in plugins/
  tulpar help COMMAND                           more about a command, with examples"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new plugin's crate, with a test
    New(new::New),
    /// Build the plugins of a crate or workspace into plugins/
    Build(build::Build),
    /// Build and serve a plugin, again each time a file is saved
    Dev(dev::Dev),
    /// Serve the plugins of a folder
    Serve(serve::Serve),
    /// Say whether files would be served, without running them
    Check(check::Check),
    /// Show what a file is, wants and serves, without running it
    Inspect(inspect::Inspect),
    /// List the plugins of a running server; disable, enable, roll back or release one
    Plugins(plugins::Plugins),
    /// Show the settings that hold, and where each comes from
    Config(config::Config),
    /// Print the completions for a shell
    Completions(completions::Completions),
    /// Write the manual pages
    Man(completions::Man),
    /// What `serve` starts for each component that it compiles
    #[command(name = compile::SUBCOMMAND, hide = true)]
    Compile {
        /// Memory that it may take, in bytes
        memory: u64,
    },
}

fn compile(memory: u64) -> ExitCode {
    match compile::answer(memory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::New(new) => new.run(),
        Command::Build(build) => build.run(),
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Plugins(plugins) => plugins.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Compile { memory } => return compile(memory),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("{BAD}tulpar:{BAD:#} {error:#}");
            let usage = error.downcast_ref::<ConfigError>().is_some();
            if usage {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_do_not_contradict_themselves() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let shown = command.get_after_help().map(ToString::to_string);
            let shown = shown.unwrap_or_default();
            assert!(
                command.is_hide_set() || shown.contains("Examples:"),
                "{}",
                command.get_name()
            );
        }
    }
}
