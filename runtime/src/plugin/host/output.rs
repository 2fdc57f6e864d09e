//! Where the lines of a plugin go, those it logs and those it prints.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::ids::PluginId;

/// The longest line that is logged whole, in bytes.
const MAX_LINE: usize = 8 << 10;

/// A text of a plugin as one line of the log: cut, and without control characters, which could forge other lines or talk
/// to the operator's terminal.
pub(in crate::plugin) fn one_line(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_LINE)]
        .chars()
        .map(|c| match c.is_control() && c != '\t' {
            true => '\u{fffd}',
            false => c,
        })
        .collect()
}

/// Writes one line of a plugin to the log.
pub(super) fn write_line(plugin: &PluginId, level: Level, line: &str) {
    let line = one_line(line);
    match level {
        Level::TRACE => tracing::trace!(target: "plugin", %plugin, "{line}"),
        Level::DEBUG => tracing::debug!(target: "plugin", %plugin, "{line}"),
        Level::INFO => tracing::info!(target: "plugin", %plugin, "{line}"),
        Level::WARN => tracing::warn!(target: "plugin", %plugin, "{line}"),
        Level::ERROR => tracing::error!(target: "plugin", %plugin, "{line}"),
    }
}

/// The standard output or error of a plugin: each line becomes one of the log.
#[derive(Clone)]
pub(super) struct Lines {
    plugin: Arc<PluginId>,
    level: Level,
    /// The beginning of a line that has not ended yet.
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn new(plugin: Arc<PluginId>, level: Level) -> Self {
        Self {
            plugin,
            level,
            pending: Vec::new(),
        }
    }

    fn end_line(&mut self) {
        write_line(
            &self.plugin,
            self.level,
            &String::from_utf8_lossy(&self.pending),
        );
        self.pending.clear();
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut lines = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let room = MAX_LINE.saturating_sub(self.pending.len());
            self.pending
                .extend_from_slice(&line[..line.len().min(room)]);
            if lines.peek().is_some() {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.end_line();
        }
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only the interfaces of WASI 0.3 ask for this, and the linker has none of them.
        Box::new(tokio::io::sink())
    }
}
