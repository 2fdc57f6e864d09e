//! From a file to a plugin that has described itself, or to the reason why not.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::bindings::exports::tulpar::plugin::namespace_handler;
use super::code::{Code, said};
use super::instance::{Instance, finished};
use super::metadata::{self, Handler};
use super::place::Place;
use super::{CallError, Plugin, Shared};
use crate::hub;
use crate::ids::PluginId;

/// The version of the contract that the host speaks.
pub const CONTRACT: &str = "tulpar:plugin@0.1.0";

const MAX_NAME: usize = 128;
const MAX_PATH: usize = 256;
const MAX_LISTED: usize = 32;

/// A plugin, ready to be entered, and what it says of itself.
pub struct Loaded {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its file.
    pub file: PathBuf,
    /// The namespace it serves.
    pub namespace: Option<NamespaceDescriptor>,
    /// The name of the middleware it is.
    pub middleware: Option<String>,
}

/// What a plugin says of its namespace.
pub struct NamespaceDescriptor {
    /// Its sockets. Their namespace's path begins with the tenant's, when there is one.
    pub sockets: Arc<hub::Namespace>,
    /// A name for logs and tables.
    pub name: String,
    /// The middlewares that an upgrade passes, in their order.
    pub middlewares: Vec<String>,
    /// The subprotocols it speaks; empty: any.
    pub protocols: Vec<String>,
}

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
    #[error("exports no handler of {CONTRACT}; it exports {0}")]
    NoHandler(String),
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

    let plugin = Arc::new(Plugin {
        id: Arc::new(id),
        shared: shared.clone(),
        code,
        namespace: OnceLock::new(),
        place: Place::new(),
    });
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

/// Asks the plugin what it is, in an instance of its own that serves nothing else.
async fn describe(plugin: Arc<Plugin>, file: &Path) -> Result<Loaded, Refusal> {
    let mut instance = Instance::new(&plugin).await?;
    instance.arm();
    let Instance {
        mut store,
        clock,
        namespace,
        middleware,
    } = instance;
    let asked = async {
        let namespace = match namespace {
            Some(guest) => Some(guest.call_describe(&mut store).await?),
            None => None,
        };
        let middleware = match middleware {
            Some(guest) => Some(guest.call_describe(&mut store).await?),
            None => None,
        };
        wasmtime::error::Ok((namespace, middleware))
    };
    let (namespace, middleware) = finished(clock.run(pin!(asked)).await)?;
    let namespace = namespace.map(|said| mount(&plugin, said)).transpose()?;
    if let Some(middleware) = &middleware {
        check_name("the name of a middleware", &middleware.name)?;
    }
    if let Some(namespace) = &namespace {
        // Set once, here; every instance from now on knows its sockets.
        let _ = plugin.namespace.set(namespace.sockets.clone());
    }
    Ok(Loaded {
        plugin,
        file: file.to_owned(),
        namespace,
        middleware: middleware.map(|middleware| middleware.name),
    })
}

fn mount(
    plugin: &Plugin,
    said: namespace_handler::Descriptor,
) -> Result<NamespaceDescriptor, Refusal> {
    check_path(&said.path)?;
    check_name("the name of a namespace", &said.name)?;
    for (what, list) in [
        ("middlewares", &said.middlewares),
        ("protocols", &said.protocols),
    ] {
        if list.len() > MAX_LISTED {
            return Err(Refusal::Descriptor(format!(
                "it lists {} {what}, more than {MAX_LISTED}",
                list.len()
            )));
        }
    }
    for name in &said.middlewares {
        check_name("the name of a middleware", name)?;
    }
    for protocol in &said.protocols {
        if !is_token(protocol) {
            return Err(Refusal::Descriptor(format!(
                "{protocol:?} is not the name of a subprotocol (RFC 6455, section 4.1)"
            )));
        }
    }
    let path = match &plugin.id.tenant {
        Some(tenant) => format!("/{tenant}{}", said.path),
        None => said.path,
    };
    Ok(NamespaceDescriptor {
        sockets: Arc::new(hub::Namespace::new(path, &plugin.shared.limits)),
        name: said.name,
        middlewares: said.middlewares,
        protocols: said.protocols,
    })
}

fn check_path(path: &str) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::Descriptor(format!("the path {path:?} {why}")));
    let Some(rest) = path.strip_prefix('/') else {
        return wrong("does not begin with `/`");
    };
    if path.len() > MAX_PATH {
        return wrong("is over 256 bytes");
    }
    if path.contains(['?', '#']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("has a query, a fragment, a space or a control character");
    }
    if !rest.is_empty()
        && rest
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
    {
        return wrong("has an empty segment or one of dots");
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::Descriptor(format!(
        "{what} is 1 to {MAX_NAME} bytes without control characters, and not {name:?}"
    )))
}

/// A token as HTTP has it (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Says so when the section at rest tells something else than `describe()` does.
fn warn_of_difference(loaded: &Loaded, at_rest: Result<Vec<Handler>, metadata::MetadataError>) {
    let id = &loaded.plugin.id;
    let at_rest = match at_rest {
        Ok(handlers) if handlers.is_empty() => return,
        Ok(handlers) => handlers,
        Err(error) => return tracing::warn!(plugin = %id, "{error}"),
    };
    let tenant = id
        .tenant
        .as_ref()
        .map(|tenant| format!("/{tenant}"))
        .unwrap_or_default();
    let namespace = loaded.namespace.iter().map(|namespace| Handler::Namespace {
        path: namespace.sockets.path()[tenant.len()..].to_owned(),
        name: namespace.name.clone(),
        middlewares: namespace.middlewares.clone(),
        protocols: namespace.protocols.clone(),
    });
    let middleware = loaded
        .middleware
        .iter()
        .map(|name| Handler::Middleware { name: name.clone() });
    let described: Vec<_> = namespace.chain(middleware).collect();
    if described.len() != at_rest.len()
        || described.iter().any(|handler| !at_rest.contains(handler))
    {
        tracing::warn!(
            plugin = %id,
            "the section `{}` does not tell what describe() does, which counts",
            metadata::SECTION
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_path_is_checked_at_its_limits() {
        for good in ["/", "/a", "/a/b-c_d", &format!("/{}", "a".repeat(255))] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "", "a", "//", "/a//b", "/a/", "/.", "/a/../b", "/a?b", "/a#b", "/a b", "/a\n",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn p2_a_name_is_checked_at_its_limits() {
        assert!(check_name("it", &"n".repeat(128)).is_ok());
        for bad in ["", "a\nb", &"n".repeat(129)] {
            assert!(check_name("it", bad).is_err(), "{bad:?}");
        }
    }
}
