//! From a file to a plugin that has described itself, or to the reason why not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::code::{Code, said};
use super::describe::{Loaded, describe, warn_of_difference};
use super::{CallError, Plugin, Shared, metadata};
use crate::ids::PluginId;

/// The version of the contract that the host speaks.
pub const CONTRACT: &str = "tulpar:plugin@0.1.0";

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The operating system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("is not a file")]
    NotAFile,
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It is over the limit.
    #[error("is larger than {limit} bytes (limits.max-plugin-bytes)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// It does not begin as WebAssembly does.
    #[error("is not WebAssembly")]
    NotWasm,
    /// A module of the core, without a component around it.
    #[error(
        "is a core module, not a component; build it with `cargo build --target wasm32-wasip2`"
    )]
    CoreModule,
    /// Compiled code, which is trusted from the host's own cache alone.
    #[error("is compiled code; give the component it was made from")]
    Compiled,
    /// It does not validate, or is larger than an instance may be.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// It wants something that is not offered, or in another shape.
    #[error("wants an import that is not offered: {0}")]
    Import(String),
    /// It exports none of the handlers.
    #[error(
        "exports no handler of {CONTRACT} and no wasi:http/incoming-handler@0.2; it exports {0}"
    )]
    NoHandler(String),
    /// It describes a controller without being one.
    #[error(
        "exports a controller-handler, but not the wasi:http/incoming-handler that it describes"
    )]
    NoController,
    /// A handler of the right name and the wrong shape.
    #[error("does not fit {CONTRACT}: {0}")]
    WrongShape(String),
    /// It could not be asked what it is.
    #[error("could not describe itself: {0}")]
    Describe(#[from] CallError),
    /// What it says of itself cannot be.
    #[error("describes itself wrongly: {0}")]
    Descriptor(String),
    /// The file or folder cannot be called that.
    #[error("has a name that cannot be served: {0}")]
    Name(String),
    /// Another plugin was first.
    #[error("{what} is {holder}'s already")]
    Taken {
        /// The path or the name.
        what: String,
        /// The plugin that has it.
        holder: String,
    },
}

/// Loads one file: reads, compiles (elsewhere than on the serving threads), instantiates and asks it what it is.
///
/// # Errors
/// See [`Refusal`].
pub async fn load(shared: &Arc<Shared>, id: PluginId, file: &Path) -> Result<Loaded, Refusal> {
    let begun = Instant::now();
    let (compiling, path) = (shared.clone(), file.to_owned());
    let compiled = tokio::task::spawn_blocking(move || {
        let content = read(&path, compiling.limits.max_plugin_bytes)?;
        let at_rest = metadata::read(&content);
        let hash = blake3::hash(&content);
        if let Some(code) = compiling.codes.get(&hash) {
            return Ok((code, true, at_rest));
        }
        let (component, cached) = compiling
            .cache
            .load(&hash, &content)
            .map_err(|error| Refusal::Invalid(said(&error)))?;
        let code = Arc::new(Code::new(&compiling.linker, &component)?);
        compiling.codes.add(hash, &code);
        Ok::<_, Refusal>((code, cached, at_rest))
    });
    let (code, cached, at_rest) = compiled.await.map_err(io::Error::other)??;

    let plugin = Arc::new(Plugin::new(id, shared, code));
    if plugin.code.keeps {
        // Opening it reads all of it, for which no event of the plugin's should have to wait. When it fails, the log says
        // so, and it is tried again when it is used.
        let _ = shared.stores.of(plugin.id.tenant.as_deref()).await;
    }
    let loaded = describe(plugin, file).await?;
    warn_of_difference(&loaded, at_rest);
    tracing::debug!(file = %loaded.plugin.id, cached, ms = begun.elapsed().as_millis(), "plugin loaded");
    Ok(loaded)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Refusal> {
    // Asked before opening: opening a pipe would wait for somebody to write to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(Refusal::NotAFile);
    }
    let mut content = Vec::new();
    File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(Refusal::TooLarge { limit });
    }
    match content.get(..8) {
        _ if content.is_empty() => Err(Refusal::Empty),
        _ if content.starts_with(b"\x7fELF") => Err(Refusal::Compiled),
        // The preamble's second half is a version and a layer: 0 a module, 1 a component.
        Some([b'\0', b'a', b's', b'm', _, _, 0, 0]) => Err(Refusal::CoreModule),
        Some([b'\0', b'a', b's', b'm', ..]) => Ok(content),
        _ => Err(Refusal::NotWasm),
    }
}
