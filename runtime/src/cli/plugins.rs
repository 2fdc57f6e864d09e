//! `tulpar plugins`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::table::{or_dash, table};
use super::{config_file_if_any, environment, wait};
use crate::admin::{Action, Client, Order, PluginInfo, Status};
use crate::config::Config;
use crate::net::router::not_served;
use crate::plugin::host::one_line;

#[derive(Args)]
#[command(after_help = "\
Without a command it lists the plugins. They are called as their files below plugins/, without .wasm: chat, or acme/chat.

Examples:
  tulpar plugins                      list them
  tulpar plugins list --json          the same for programs
  tulpar plugins disable acme/chat    close its sockets and serve it no more, also after a restart
  tulpar plugins enable acme/chat     serve it again
  tulpar plugins rollback acme/chat   serve what it was before its file was replaced, until that changes again;
                                      said twice it leads back
  tulpar plugins release acme/chat    let it out of quarantine at once

The server is found by its Unix socket (the setting `admin.socket`, .tulpar/admin.sock in the server's folder), which only its
own user can open.")]
pub(super) struct Plugins {
    /// The server's Unix socket [default: .tulpar/admin.sock, or what the configuration says]
    #[arg(long, value_name = "SOCKET", global = true)]
    admin: Option<PathBuf>,
    /// The configuration file [default: tulpar.toml, when there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the plugins
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve a plugin no more: its sockets are closed, new requests get 404
    Disable(Named),
    /// Serve a disabled plugin again
    Enable(Named),
    /// Serve what a plugin was before its file was replaced; the sockets stay open
    Rollback(Named),
    /// Let a plugin out of quarantine
    Release(Named),
}

#[derive(Args)]
struct Named {
    /// NAME, or TENANT/NAME
    plugin: String,
}

impl Plugins {
    pub(super) fn run(self) -> Result<ExitCode> {
        let socket = match self.admin {
            Some(socket) => socket,
            None => {
                let file = config_file_if_any(self.config);
                // The plugins' secrets may be in the server's environment alone.
                let config = Config::load_without_values(file.as_deref(), environment())?;
                let socket = config.admin.unix();
                socket
                    .context(
                        "the configuration says that the server listens on no socket (`admin.socket`)",
                    )?
                    .to_owned()
            }
        };
        let client = Client::new(&socket);
        let (action, named) = match self.command {
            None => return list(&client, false),
            Some(Command::List { json }) => return list(&client, json),
            Some(Command::Disable(named)) => (Action::Disable, named),
            Some(Command::Enable(named)) => (Action::Enable, named),
            Some(Command::Rollback(named)) => (Action::RollBack, named),
            Some(Command::Release(named)) => (Action::Release, named),
        };
        let order = Order {
            plugin: named.plugin,
            action,
        };
        wait(client.order(&order))??;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(client: &Client, json: bool) -> Result<ExitCode> {
    let plugins = wait(client.plugins())??;
    let text = match json {
        true => serde_json::to_string_pretty(&plugins)? + "\n",
        false => in_words(&plugins),
    };
    // Whoever reads this may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn in_words(plugins: &[PluginInfo]) -> String {
    let heading = ["PLUGIN", "STATUS", "GEN", "SOCKETS", "FAILED", "SERVES"];
    let mut rows = vec![heading.map(String::from)];
    for plugin in plugins {
        let generation = plugin.generation.map(|number| number.to_string());
        rows.push([
            one_line(&plugin.name),
            status_in_words(plugin.status).to_owned(),
            or_dash(generation.unwrap_or_default()),
            plugin.sockets.to_string(),
            plugin.failures.to_string(),
            or_dash(plugin.serves.join(", ")),
        ]);
    }
    let mut text = table(&rows).unwrap_or_else(|| "no plugins\n".to_owned());
    for plugin in plugins {
        for (path, missing) in &plugin.missing {
            let line = not_served(path, &plugin.name, missing);
            text += &format!("{}\n", one_line(&line));
        }
        if let Some(refusal) = &plugin.refusal {
            let line = format!("refused {}: {refusal}", plugin.name);
            text += &format!("{}\n", one_line(&line));
        }
    }
    text
}

fn status_in_words(status: Status) -> &'static str {
    match status {
        Status::Serving => "serving",
        Status::RolledBack => "rolled back",
        Status::Quarantined => "quarantined",
        Status::Disabled => "disabled",
        Status::Refused => "refused",
        Status::Blocked => "blocked",
        Status::Waiting => "waiting",
    }
}
