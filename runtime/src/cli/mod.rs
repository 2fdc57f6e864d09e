//! The command line.

mod plugins;
mod serve;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;
use crate::plugin::compile;

/// Something in the configuration or on the command line is wrong; clap's own code for it.
const USAGE: u8 = 2;

/// The file that is read when it is there and no other is named.
const DEFAULT_FILE: &str = "tulpar.toml";

/// The configuration file: the one that is named, else the default one when it is there.
fn config_file(named: Option<PathBuf>) -> Option<PathBuf> {
    let default = PathBuf::from(DEFAULT_FILE);
    named.or_else(|| default.exists().then_some(default))
}

/// The variables of the environment that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

#[derive(Parser)]
#[command(
    name = "tulpar",
    version,
    about = "A WebSocket application server whose handlers are sandboxed WebAssembly components",
    arg_required_else_help = true,
    after_help = "Drop chat.wasm into plugins/, run `tulpar serve`, and connect to ws://127.0.0.1:3000/chat."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the plugins of a folder
    Serve(serve::Serve),
    /// List the plugins of a running server; disable, enable, roll back or release one
    Plugins(plugins::Plugins),
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
        Command::Serve(serve) => serve.run(),
        Command::Plugins(plugins) => plugins.run(),
        Command::Compile { memory } => return compile(memory),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tulpar: {error:#}");
            let usage = error.downcast_ref::<ConfigError>().is_some();
            if usage {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
