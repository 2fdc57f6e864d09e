//! From a file to a plugin that has described itself, or to the reason why not.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::code::{Code, said};
use super::compile::CompileError;
use super::describe::{Loaded, describe, warn_of_difference};
use super::{CallError, Generation, Plugin, ReplaceError, Shared, metadata};
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
    /// It could not be compiled, for what it costs or for want of a process.
    #[error("cannot be compiled: {0}")]
    Compile(CompileError),
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
    /// It does not take the place of what was there.
    #[error("{0}")]
    Replace(#[from] ReplaceError),
    /// It was rolled back, and what it was before is not there any more.
    #[error("was rolled back, and what it was before cannot be read; replace it")]
    NotKept,
    /// It ends too early: more of it may still come.
    #[error("is not complete: it ends within a section")]
    Incomplete,
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

impl Refusal {
    /// Whether it is for what may have passed when the file is tried again as it is.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_)
                | Self::Describe(CallError::Quota(_))
                | Self::Replace(ReplaceError::Instance(CallError::Quota(_)))
                | Self::Compile(CompileError::NoProcess(_) | CompileError::Killed(_))
        )
    }

    /// Whether it may be served when settings are others, or the machine is less busy: its operator says so in the same way.
    #[must_use]
    pub fn depends_on_settings(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::Describe(_)
                | Self::Replace(_)
                | Self::Compile(CompileError::TooSlow(_) | CompileError::Killed(_))
        )
    }
}

/// What a file consists of.
pub struct Content {
    bytes: Vec<u8>,
    /// What tells it from others.
    pub hash: blake3::Hash,
}

impl Content {
    /// Reads a file, and looks whether it can be a component.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn read(file: &Path, limit: u64) -> Result<Self, Refusal> {
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let bytes = read(&file, limit)?;
            let hash = blake3::hash(&bytes);
            Ok(Self { bytes, hash })
        });
        read.await.map_err(io::Error::other)?
    }

    /// What tells a file from others, whatever it consists of; none when it cannot be read or is too large.
    pub async fn hash_of(file: &Path, limit: u64) -> Option<blake3::Hash> {
        let file = file.to_owned();
        let hashed = tokio::task::spawn_blocking(move || match read(&file, limit) {
            Ok(bytes) => Some(blake3::hash(&bytes)),
            Err(Refusal::Unreadable(_) | Refusal::NotAFile | Refusal::TooLarge { .. }) => None,
            Err(_) => std::fs::read(&file).ok().map(|bytes| blake3::hash(&bytes)),
        });
        hashed.await.ok()?
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Loads what a file consists of, the generation of that number: compiles it, instantiates it and asks it what it is. When
/// it is for a plugin that is there already, that one goes on as it is.
///
/// # Errors
/// See [`Refusal`].
pub async fn load(
    shared: &Arc<Shared>,
    id: PluginId,
    present: Option<Arc<Plugin>>,
    number: u64,
    content: &Content,
) -> Result<Loaded, Refusal> {
    let begun = Instant::now();
    let (code, cached) = code(shared, content).await?;
    let keeps = code.keeps;
    let generation = Generation {
        number,
        hash: content.hash,
        code,
        namespace: None,
    };
    let loaded = match present {
        Some(plugin) => describe(plugin, &generation).await?,
        None => {
            let plugin = Arc::new(Plugin::new(id, shared, generation));
            let generation = plugin.generation();
            let loaded = describe(plugin, &generation).await?;
            loaded.plugin.generation.store(loaded.generation.clone());
            loaded
        }
    };
    if keeps {
        // Opening it reads all of it, for which no event of the plugin's should have to wait. When it fails, the log says
        // so, and it is tried again when it is used.
        let _ = loaded.plugin.store.open().await;
    }
    warn_of_difference(&loaded, metadata::read(content.bytes()));
    tracing::debug!(file = %loaded.plugin.id, cached, ms = begun.elapsed().as_millis(), "plugin loaded");
    Ok(loaded)
}

/// The code of a component: a loaded plugin's, or from the cache, or compiled; and whether it was there.
async fn code(shared: &Arc<Shared>, content: &Content) -> Result<(Arc<Code>, bool), Refusal> {
    let hash = content.hash;
    if let Some(code) = shared.codes.get(&hash) {
        return Ok((code, true));
    }
    let made = in_background(shared, move |shared| shared.cache.get(&hash)).await?;
    let cached = made.is_some();
    let component = match made {
        Some(component) => component,
        None => {
            let code = shared.compiler.compile(content.bytes()).await?;
            let component = in_background(shared, move |shared| shared.cache.put(&hash, &code));
            component
                .await?
                .map_err(|error| Refusal::Invalid(said(&error)))?
        }
    };
    in_background(shared, move |shared| {
        let code = Arc::new(Code::new(&shared.linker, &component)?);
        shared.codes.add(hash, &code);
        Ok((code, cached))
    })
    .await?
}

/// Does what takes a while, elsewhere than on the threads that serve.
async fn in_background<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let shared = shared.clone();
    let done = tokio::task::spawn_blocking(move || work(&shared));
    Ok(done.await.map_err(io::Error::other)?)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Refusal> {
    // Opening a pipe would wait for somebody to write to it.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::NotAFile);
    }
    // Before anything is read of it; it may grow all the same.
    if metadata.len() > limit {
        return Err(Refusal::TooLarge { limit });
    }
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(Refusal::TooLarge { limit });
    }
    look_at(&content)?;
    Ok(content)
}

/// Looks whether it can be a component.
///
/// # Errors
/// It cannot.
pub fn look_at(content: &[u8]) -> Result<(), Refusal> {
    match content.get(..8) {
        _ if content.is_empty() => Err(Refusal::Empty),
        _ if content.starts_with(b"\x7fELF") => Err(Refusal::Compiled),
        // The preamble's second half is a version and a layer: 0 a module, 1 a component.
        Some([b'\0', b'a', b's', b'm', _, _, 0, 0]) => Err(Refusal::CoreModule),
        Some([b'\0', b'a', b's', b'm', ..]) if metadata::is_complete(content) => Ok(()),
        Some([b'\0', b'a', b's', b'm', ..]) => Err(Refusal::Incomplete),
        None if b"\0asm".starts_with(&content[..content.len().min(4)]) => Err(Refusal::Incomplete),
        _ => Err(Refusal::NotWasm),
    }
}

impl From<CompileError> for Refusal {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Invalid(why) => Self::Invalid(why),
            error => Self::Compile(error),
        }
    }
}
