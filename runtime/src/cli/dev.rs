//! `tulpar dev`.

mod sources;

use std::future::pending;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use self::sources::Sources;
use super::build::crates::Crates;
use super::build::{What, in_place, place::place};
use super::flags::Flags;
use super::serve::{Signals, serve};
use crate::app::{Ended, threads};
use crate::config::Config;
use crate::telemetry;

/// What is logged unless TULPAR_LOG says otherwise: all that plugins say.
const LOG: &str = "info,plugin=debug";

#[derive(Args)]
#[command(after_help = "\
It builds the crate in DIR as `tulpar build` does, serves it as `tulpar serve --dev` does in that folder, with its
tulpar.toml, and builds it again each time a file is saved. What was built takes over with the sockets open, and what
does not compile changes nothing. The plugin's log is in the terminal, its debug lines too; at / there is a page to try
the namespaces with.

Examples:
  tulpar new hello && cd hello && tulpar dev
  tulpar dev --listen 127.0.0.1:4000
  tulpar dev plugins/chat                    a crate in another folder
  tulpar dev -- --features extra             what is behind -- is for Cargo

Stop it with Ctrl-C, which ends a build in hand too.")]
pub(super) struct Dev {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    flags: Flags,
}

impl Dev {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut flags = self.flags.absolute()?;
        let crates = self.what.enter()?.tied();
        let mut load = move || {
            let mut config = flags.load()?.config;
            config.dev = true;
            Ok(config)
        };
        let config: Config = load()?;
        let plugins = config.plugins.clone();
        std::fs::create_dir_all(&plugins)
            .with_context(|| format!("cannot make {}", plugins.display()))?;
        let runtime = threads().context("cannot start the threads that serve")?;
        let telemetry = telemetry::start(&config.telemetry, LOG, runtime.handle())?;
        let ended = runtime.block_on(async {
            let mut signals = Signals::of_a_terminal()?;
            let mut end = Signals::of_a_terminal()?;
            // Before it is built, so that nothing that is saved meanwhile is missed.
            let mut sources = Sources::watch(&crates)?;
            tokio::select! {
                built = build(&crates, &plugins) => built?,
                () = signals.next() => return Ok(Ended::Clean),
            }
            let rebuild = async {
                // What is being built ends with the first signal, for the second leaves no time for it.
                tokio::select! {
                    broken = rebuild(&crates, &mut sources, &plugins) => broken,
                    () = end.next() => pending().await,
                }
            };
            tokio::select! {
                ended = serve(config, signals, load) => ended,
                broken = rebuild => Err(broken),
            }
        });
        telemetry.end();
        // Cargo is ended by now, when it was not done.
        runtime.shutdown_background();
        Ok(match ended? {
            Ended::Clean => ExitCode::SUCCESS,
            Ended::GraceOver => ExitCode::FAILURE,
        })
    }
}

/// Builds the crates whenever one of their sources has changed. Returns why that is not possible any more.
async fn rebuild(crates: &Crates, sources: &mut Sources, plugins: &Path) -> anyhow::Error {
    loop {
        sources.changed().await;
        if let Err(error) = build(crates, plugins).await {
            return error;
        }
    }
}

/// Builds the crates and puts them where the server finds them, which then says what comes of them.
async fn build(crates: &Crates, plugins: &Path) -> Result<()> {
    let Some(built) = crates.build().await? else {
        tracing::warn!("it does not compile; what is served stays as it is until the next save");
        return Ok(());
    };
    for file in built {
        let placed = place(&file, plugins)?;
        if !placed.is_new {
            continue;
        }
        // Nobody has to read this.
        let _ = anstream::stdout().write_all(in_place(&placed).as_bytes());
    }
    Ok(())
}
