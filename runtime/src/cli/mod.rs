//! The command line.

mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;

/// Something in the configuration or on the command line is wrong; clap's own code for it.
const USAGE: u8 = 2;

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
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
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
