//! The last lines of the log about each plugin, its own and the server's, for whoever looks at it from elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The field of an event that names the plugin it is about, by its file.
const PLUGIN: &str = "plugin";
/// Lines that are kept of one plugin.
const MOST_LINES: usize = 500;
/// And bytes of them.
const MOST_BYTES: usize = 256 << 10;

/// The longest line that is kept whole, in bytes.
const MAX_LINE: usize = 8 << 10;

/// Those of the log. There is one log in a process.
pub static RECENT: Recent = Recent::new();

/// The last lines about each plugin.
///
/// It is a layer of the log: what the log leaves out, it does not have either, and what the log does not write costs
/// nothing here.
pub struct Recent(Mutex<BTreeMap<String, Lines>>);

/// The last lines about one plugin.
#[derive(Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    /// The number of the last one.
    last: u64,
}

/// A line of the log about a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Counts the lines about this plugin, from 1.
    pub number: u64,
    /// When it was written, in milliseconds since 1970.
    pub time: u64,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: &'static str,
    /// What it says. It may quote a plugin, and have control characters.
    pub text: String,
}

impl Recent {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Lines>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines about a plugin behind that number; all that are kept when there is no such number.
    #[must_use]
    pub fn after(&self, plugin: &str, number: u64) -> Vec<Line> {
        let all = self.lock();
        let Some(lines) = all.get(plugin) else {
            return Vec::new();
        };
        let number = if number > lines.last { 0 } else { number };
        let news = lines.kept.iter().filter(|line| line.number > number);
        news.cloned().collect()
    }

    /// Forgets the plugins that are not among these.
    pub fn keep(&self, plugins: &BTreeSet<&str>) {
        self.lock()
            .retain(|plugin, _| plugins.contains(plugin.as_str()));
    }

    fn add(&self, plugin: &str, level: &'static str, text: String) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = time.unwrap_or_default().as_millis();
        let mut all = self.lock();
        let lines = match all.get_mut(plugin) {
            Some(lines) => lines,
            None => all.entry(plugin.to_owned()).or_default(),
        };
        lines.last += 1;
        lines.bytes += text.len();
        lines.kept.push_back(Line {
            number: lines.last,
            time: u64::try_from(time).unwrap_or(u64::MAX),
            level,
            text,
        });
        while (lines.kept.len() > MOST_LINES || lines.bytes > MOST_BYTES)
            && let Some(oldest) = lines.kept.pop_front()
        {
            lines.bytes -= oldest.text.len();
        }
    }
}

impl<S: Subscriber> Layer<S> for &'static Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().fields().field(PLUGIN).is_none() {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let mut text = said.message + &said.rest;
        text.truncate(text.floor_char_boundary(MAX_LINE));
        let plugin = said.plugin.strip_suffix(".wasm").unwrap_or(&said.plugin);
        self.add(plugin, event.metadata().level().as_str(), text);
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    plugin: String,
    message: String,
    rest: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        _ = match field.name() {
            PLUGIN => write!(self.plugin, "{value:?}"),
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn texts(log: &Recent, plugin: &str, number: u64) -> Vec<String> {
        let lines = log.after(plugin, number).into_iter();
        lines.map(|line| line.text).collect()
    }

    #[test]
    fn an_event_with_a_plugin_is_a_line_about_it() {
        static LOG: Recent = Recent::new();
        let log = &LOG;
        let subscriber = tracing_subscriber::registry().with(log);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("about nobody");
            tracing::warn!(
                plugin = "acme/chat.wasm",
                failures = 2,
                "on-open: {}",
                "a\nb"
            );
            tracing::info!(plugin = %"other.wasm", "hello");
        });
        let lines = log.after("acme/chat", 0);
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].number, lines[0].level), (1, "WARN"));
        assert_eq!(lines[0].text, "on-open: a\nb failures=2");
        assert_eq!(texts(log, "other", 0), ["hello"]);
        log.keep(&BTreeSet::from(["other"]));
        assert_eq!(texts(log, "acme/chat", 0), [""; 0]);
    }

    #[test]
    fn so_many_lines_and_bytes_are_kept() {
        let log = &Recent::new();
        for number in 1..=MOST_LINES + 1 {
            log.add("a", "INFO", number.to_string());
        }
        let kept = texts(log, "a", 0);
        assert_eq!((kept.len(), kept[0].as_str()), (MOST_LINES, "2"));
        let last = MOST_LINES as u64 + 1;
        assert_eq!(texts(log, "a", last - 1), [last.to_string()]);
        assert_eq!(texts(log, "a", last), [""; 0]);
        // Somebody has it from a server that ran before.
        assert_eq!(texts(log, "a", last + 1).len(), MOST_LINES);
        for _ in 0..3 {
            log.add("a", "INFO", "x".repeat(MOST_BYTES / 2));
        }
        assert_eq!(log.after("a", 0).len(), 2);
    }
}
