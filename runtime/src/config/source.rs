//! Where each value comes from, for those who wonder why a setting is what it is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::given::Whose;
use super::settings::{Settings, quoted};
use super::{Config, ConfigError, in_file};

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Nobody has said anything.
    Default,
    /// A line of the configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment, by its name.
    Environment(String),
    /// A flag of the command line, by its name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting that was said on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, with its dashes.
    pub name: &'static str,
    /// The setting that it sets.
    pub setting: &'static str,
    /// To what.
    pub value: Value,
}

/// A configuration, and where it comes from.
pub struct Sourced {
    /// The configuration.
    pub config: Config,
    /// What was said, before references were resolved.
    said: Table,
    sources: BTreeMap<Vec<String>, Source>,
}

/// One setting, with its value and where that comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// The tables around it, from the outermost, and its own name.
    pub path: Vec<String>,
    /// Its value; none when it may be a secret.
    pub value: Option<Value>,
    /// Where it comes from.
    pub source: Source,
}

impl Sourced {
    /// The settings of `file` (when there is one) over the defaults, with those of `environment` over both, and `flags` over
    /// all.
    ///
    /// # Errors
    /// As those of [`Config::load`].
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let (text, path) = in_file(file)?;
        let (settings, config) = Config::read(&text, path, &environment, flags)?;
        let Settings { table, mut sources } = settings;
        for (setting, line) in lines(&text) {
            // What a variable or a flag says stays.
            sources.entry(setting).or_insert_with(|| Source::File {
                path: path.to_owned(),
                line,
            });
        }
        Ok(Self {
            config,
            said: table,
            sources,
        })
    }

    /// All settings: those of no table first, then table by table.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut found = Vec::new();
        self.collect(&self.said, &mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, table: &Table, path: &mut Vec<String>, found: &mut Vec<Setting>) {
        let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| {
            // A value of a plugin's configuration may be a table that says where to find it.
            value.is_table() && !is_of_plugin_config(path)
        });
        for (key, value) in values {
            path.push(key.clone());
            let source = self.sources.get(path);
            found.push(Setting {
                value: (!is_secret(path, value)).then(|| value.clone()),
                source: source.cloned().unwrap_or(Source::Default),
                path: path.clone(),
            });
            path.pop();
        }
        for (key, value) in tables {
            path.push(key.clone());
            if let Value::Table(inner) = value {
                self.collect(inner, path, found);
            }
            path.pop();
        }
    }
}

impl Setting {
    /// The table it stands in and its name, as one would write them.
    #[must_use]
    pub fn names(&self) -> (String, String) {
        let quoted: Vec<_> = self.path.iter().map(|part| quoted(part)).collect();
        match quoted.split_last() {
            Some((key, tables)) => (tables.join("."), key.clone()),
            None => Default::default(),
        }
    }
}

/// Whether that is the table of what a plugin reads through `wasi:config`.
fn is_of_plugin_config(path: &[String]) -> bool {
    let [whose, _, config] = path else {
        return false;
    };
    config == "config" && Whose::ALL.iter().any(|known| known.table() == whose)
}

/// Whether a value is not to be shown: a text that a plugin reads, a token or a password. Where a text is found is no
/// secret, nor that there is none.
fn is_secret(path: &[String], value: &Value) -> bool {
    let table = &path[..path.len().saturating_sub(1)];
    let named = ["admin.token", "backplane.token", "backplane.password"];
    let is_named = named.contains(&path.join(".").as_str()) && value.as_str() != Some("");
    is_named || is_of_plugin_config(table) && value.is_str()
}

/// The line of each key of a file that can be parsed.
fn lines(text: &str) -> BTreeMap<Vec<String>, usize> {
    fn walk(
        table: &DeTable<'_>,
        path: &mut Vec<String>,
        line: &dyn Fn(usize) -> usize,
        found: &mut BTreeMap<Vec<String>, usize>,
    ) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            if let DeValue::Table(inner) = value.get_ref() {
                walk(inner, path, line, found);
            }
            found.insert(path.clone(), line(key.span().start));
            path.pop();
        }
    }
    let mut found = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        walk(table.get_ref(), &mut Vec::new(), &line, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sourced(text: &str, variable: (&str, &str), flags: &[Flag]) -> BTreeMap<String, Setting> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tulpar.toml");
        std::fs::write(&file, text).unwrap();
        let variable = (variable.0.to_owned(), variable.1.to_owned());
        let sourced = Sourced::load(Some(&file), [variable], flags).unwrap();
        let settings = sourced.settings().into_iter();
        settings
            .map(|mut setting| {
                if let Source::File { path, .. } = &mut setting.source {
                    *path = path.file_name().unwrap().into();
                }
                (setting.path.join("/"), setting)
            })
            .collect()
    }

    #[test]
    fn each_value_is_shown_with_who_said_it() {
        let text = "listen = '127.0.0.1:1'\nplugins = 'a'\n\n[limits]\ndeadline-ms = 7\nhandles = 8\n\
                    [plugin.'acme/chat'.limits]\nhandles = 9";
        let flag = Flag {
            name: "--plugins",
            setting: "plugins",
            value: Value::from("c"),
        };
        let found = sourced(text, ("TULPAR_LIMITS_HANDLES", "5"), &[flag]);
        let shown = |key: &str| {
            let setting = &found[key];
            let value = setting.value.as_ref().unwrap();
            format!("{value} {}", setting.source)
        };
        assert_eq!(shown("listen"), r#""127.0.0.1:1" tulpar.toml:1"#);
        assert_eq!(shown("plugins"), r#""c" --plugins"#);
        assert_eq!(shown("limits/deadline-ms"), "7 tulpar.toml:5");
        assert_eq!(shown("limits/handles"), "5 TULPAR_LIMITS_HANDLES");
        assert_eq!(shown("plugin/acme/chat/limits/handles"), "9 tulpar.toml:8");
        assert_eq!(shown("dev"), "false default");
        let chat = &found["plugin/acme/chat/limits/handles"];
        assert_eq!(
            chat.names(),
            (r#"plugin."acme/chat".limits"#.into(), "handles".into())
        );
    }

    #[test]
    fn a_token_is_not_shown_and_that_there_is_none_is() {
        let said = |text: &str| sourced(text, ("TULPAR_DEV", "true"), &[]);
        let found = said("[admin]\ntoken = '0123456789abcdef'");
        assert_eq!(found["admin/token"].value, None);
        assert!(!format!("{found:?}").contains("0123"));
        assert_eq!(said("")["admin/token"].value, Some(Value::from("")));
    }

    #[test]
    fn a_text_that_a_plugin_reads_is_not_shown_and_a_reference_is() {
        let text = "[plugin.a.config]\nkey = 'hunter2'\nother = { env = 'SECRET' }";
        let found = sourced(text, ("SECRET", "hunter3"), &[]);
        assert_eq!(found["plugin/a/config/key"].value, None);
        let other = &found["plugin/a/config/other"];
        assert_eq!(
            other.value.as_ref().unwrap().to_string(),
            r#"{ env = "SECRET" }"#
        );
        let all = format!("{found:?}");
        assert!(!all.contains("hunter"), "{all}");
    }
}
