//! The flags that say how to serve, and the settings that come of them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use toml::Value;

use super::{config_file, environment};
use crate::config::{ConfigError, Flag, LONGEST_PATH, Listen, Sourced};

/// The flags of `tulpar serve`.
#[derive(Args, Clone)]
pub(super) struct Flags {
    /// The folder whose .wasm files are served [default: plugins]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// The address to serve on, of which port 0 takes a free one, or unix:PATH [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// The configuration file [default: tulpar.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for compiled code [default: .tulpar/cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Serve a page at / to try the namespaces with, and the live page on 127.0.0.1:3001 or a free port
    #[arg(long)]
    dev: bool,
}

impl Flags {
    /// What the flags, the environment and the file say together. A file that has been there once has to be there the next
    /// time too, for one that is missing then does not mean that everything is to be as by default.
    ///
    /// # Errors
    /// Something of it is wrong.
    pub(super) fn load(&mut self) -> Result<Sourced, ConfigError> {
        self.config = config_file(self.config.take())?;
        Sourced::load(self.config.as_deref(), environment(), &self.settings())
    }

    /// The same with paths that lead to the same places from any folder.
    ///
    /// # Errors
    /// The operating system does not tell the current folder.
    pub(super) fn absolute(self) -> Result<Self> {
        let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
        let absolute = |path| absolute(path).context("cannot find out where that is");
        let listen = match self.listen {
            // The system takes no longer one; as it was said it may be short enough.
            Some(Listen::Unix(path)) => absolute(Some(path.clone()))?
                .filter(|it| it.as_os_str().len() <= LONGEST_PATH)
                .or(Some(path))
                .map(Listen::Unix),
            listen => listen,
        };
        Ok(Self {
            plugins: absolute(self.plugins)?,
            listen,
            config: absolute(self.config)?,
            cache: absolute(self.cache)?,
            ..self
        })
    }

    /// What is said here and nowhere else.
    fn settings(&self) -> Vec<Flag> {
        let path = |path: &PathBuf| Value::from(path.to_string_lossy().into_owned());
        let said = [
            ("--plugins", "plugins", self.plugins.as_ref().map(path)),
            (
                "--listen",
                "listen",
                self.listen
                    .as_ref()
                    .map(|listen| Value::from(listen.to_string())),
            ),
            ("--cache", "cache", self.cache.as_ref().map(path)),
            ("--dev", "dev", self.dev.then_some(Value::Boolean(true))),
        ];
        said.into_iter()
            .filter_map(|(name, setting, value)| {
                Some(Flag {
                    name,
                    setting,
                    value: value?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_the_same_from_any_folder() {
        let here = std::env::current_dir().unwrap();
        let flags = |listen: &str| Flags {
            plugins: Some("plugins".into()),
            listen: Some(listen.parse().unwrap()),
            config: Some("tulpar.toml".into()),
            cache: Some("cache".into()),
            dev: false,
        };
        let found = flags("unix:dev.sock").absolute().unwrap();
        assert_eq!(found.plugins, Some(here.join("plugins")));
        assert_eq!(found.listen, Some(Listen::Unix(here.join("dev.sock"))));
        assert_eq!(found.config, Some(here.join("tulpar.toml")));
        assert_eq!(found.cache, Some(here.join("cache")));
        let found = flags("127.0.0.1:1").absolute().unwrap();
        assert_eq!(found.listen, "127.0.0.1:1".parse().ok());
    }
}
