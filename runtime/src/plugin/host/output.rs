//! Where the lines of a plugin go, those it logs and those it prints.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::super::log::PluginLog;

/// The longest line that is logged whole, in bytes.
const MAX_LINE: usize = 8 << 10;

/// A text of a plugin as one line of the log: cut, and without control characters, which could forge other lines or talk
/// to the operator's terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_LINE)]
        .chars()
        .map(|c| match c.is_control() && c != '\t' {
            true => '\u{fffd}',
            false => c,
        })
        .collect()
}

/// The standard output or error of a plugin: each line becomes one of the log.
#[derive(Clone)]
pub(super) struct Lines {
    log: Arc<PluginLog>,
    level: Level,
    /// The beginning of a line that has not ended yet.
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn new(log: Arc<PluginLog>, level: Level) -> Self {
        Self {
            log,
            level,
            pending: Vec::new(),
        }
    }

    fn end_line(&mut self) {
        self.log
            .write(self.level, &String::from_utf8_lossy(&self.pending));
        self.pending.clear();
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // Nobody else holds the guest to it, and each byte may be a line of its own.
        if bytes.len() > MAX_LINE {
            return Err(StreamError::trap("write exceeded budget"));
        }
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
