//! What plugins and the server write to the log.

use std::fmt::{self, Write as _};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// What the lines of plugins are marked with.
const OF_A_PLUGIN: &str = "plugin";

/// A line of the log. It can be compared with its text.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The plugin that it is from, or about: `NAME`, or `TENANT/NAME`; none of what the server says of itself.
    pub plugin: Option<String>,
    /// The text.
    pub text: String,
    by_plugin: bool,
}

/// As the text alone.
impl fmt::Debug for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, text, .. } = self;
        match (&self.plugin, self.by_plugin) {
            (Some(plugin), true) => write!(f, "{level} {plugin}: {text}"),
            (Some(plugin), false) => write!(f, "{level} server: {plugin}: {text}"),
            (None, _) => write!(f, "{level} server: {text}"),
        }
    }
}

impl PartialEq<str> for LogLine {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for LogLine {
    fn eq(&self, other: &&str) -> bool {
        self.text == **other
    }
}

impl PartialEq<String> for LogLine {
    fn eq(&self, other: &String) -> bool {
        self.text == *other
    }
}

/// The log of one server.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<LogLine>>>,
}

impl Log {
    /// What has whatever runs inside of it written here.
    pub(crate) fn dispatch(&self) -> Dispatch {
        Registry::default().with(self.clone()).into()
    }

    /// The lines of plugins, or those of the server, since these were asked for last.
    pub(crate) fn take(&self, by_plugin: bool) -> Vec<LogLine> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, kept) = take(&mut *lines)
            .into_iter()
            .partition(|line| line.by_plugin == by_plugin);
        *lines = kept;
        taken
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let of_the_server = metadata.target().starts_with("tulpar_runtime");
        metadata.target() == OF_A_PLUGIN || of_the_server && *metadata.level() <= Level::INFO
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let line = LogLine {
            level: match *event.metadata().level() {
                Level::TRACE => "trace",
                Level::DEBUG => "debug",
                Level::INFO => "info",
                Level::WARN => "warn",
                Level::ERROR => "error",
            },
            plugin: said
                .plugin
                .map(|file| file.trim_end_matches(".wasm").to_owned()),
            text: said.text,
            by_plugin: event.metadata().target() == OF_A_PLUGIN,
        };
        // Shown with a test that fails.
        println!("{line}");
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}

#[derive(Default)]
struct Said {
    plugin: Option<String>,
    text: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => _ = write!(self.text, "{value:?}"),
            "plugin" => self.plugin = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.text.push_str(value),
            "plugin" => self.plugin = Some(value.to_owned()),
            _ => {}
        }
    }
}
