//! `tulpar completions` and `tulpar man`: what shells and `man` want to know.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

#[derive(Args)]
#[command(after_help = "\
Examples:
  tulpar completions bash > ~/.local/share/bash-completion/completions/tulpar
  tulpar completions zsh > ~/.zfunc/_tulpar       with ~/.zfunc in fpath
  tulpar completions fish > ~/.config/fish/completions/tulpar.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tulpar", &mut script);
        // Whoever reads this may have seen enough.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  tulpar man /usr/local/share/man/man1   tulpar.1, tulpar-serve.1 and so on; then: man tulpar-serve")]
pub(super) struct Man {
    /// The folder to put the pages into; it is made when it is missing
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode> {
        let shown = self.dir.display();
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot make {shown}"))?;
        let written = clap_mangen::generate_to(Cli::command(), &self.dir);
        written.with_context(|| format!("cannot write to {shown}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
