//! What a file is and whether it would be served, found out without running it.
//!
//! The same steps as those of [`load`](super::load), up to the one where the plugin is asked what it is. What it would
//! answer is taken from its section `tulpar:plugin`, when it has one.

mod outline;

use std::path::Path;

use serde::Serialize;
use wasmtime::Engine;
use wasmtime::component::Linker;

pub use self::outline::{Outline, Producer};

use super::cache::Cache;
use super::catalog::identify;
use super::code::{Code, said};
use super::compile::Compiler;
use super::describe::{check, path_by_name};
use super::engine;
use super::host::{HostState, one_line};
use super::load::{Content, Refusal};
use super::metadata::{self, Handler};
use crate::config::Limits;
use crate::ids::PluginId;

/// Looks at files, without serving or running any.
pub struct Inspector {
    engine: Engine,
    linker: Linker<HostState>,
    compiler: Compiler,
    limits: Limits,
}

/// What is known of a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// The file, as it was named.
    pub file: String,
    /// Why it would be refused; none when nothing speaks against it.
    pub refused: Option<String>,
    /// What is worth knowing all the same.
    pub notes: Vec<String>,
    /// Its size in bytes; none when it cannot be read or does not begin as a component does.
    pub bytes: Option<u64>,
    /// The BLAKE3 hash of its content, by which its compiled code is found.
    pub blake3: Option<String>,
    /// What is in it.
    #[serde(flatten)]
    pub outline: Outline,
    /// The handlers that its section `tulpar:plugin` names; none when it has no such section, or an unreadable one.
    pub handlers: Option<Vec<Handler>>,
    /// What it wants beside the processor and memory.
    pub needs: Vec<Need>,
}

/// Something that a plugin uses, and where the operator decides about it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Need {
    /// In one word: `hosts`, `config`, `store`, `ulak` or `middleware`.
    pub what: &'static str,
    /// In words.
    pub why: String,
}

impl Inspector {
    /// One that refuses what a server with these limits refuses.
    ///
    /// # Errors
    /// The engine cannot be set up.
    pub fn new(limits: &Limits) -> anyhow::Result<Self> {
        let engine = engine::for_checking(limits)?;
        Ok(Self {
            linker: engine::linker(&engine)?,
            compiler: Compiler::in_child(limits),
            limits: limits.clone(),
            engine,
        })
    }

    /// Looks at one file.
    pub async fn inspect(&self, file: &Path) -> Inspection {
        let mut found = Inspection {
            file: file.display().to_string(),
            refused: None,
            notes: Vec::new(),
            bytes: None,
            blake3: None,
            outline: Outline::default(),
            handlers: None,
            needs: Vec::new(),
        };
        let refused = self.look(file, &mut found).await.err();
        found.refused = refused.map(|refusal| one_line(&refusal.to_string()));
        found
    }

    async fn look(&self, file: &Path, found: &mut Inspection) -> Result<(), Refusal> {
        let id = identify(None, file)?;
        let content = Content::read(file, self.limits.max_plugin_bytes).await?;
        found.bytes = Some(content.bytes().len() as u64);
        found.blake3 = Some(content.hash.to_string());
        // What cannot be parsed does not compile either, which says why.
        found.outline = Outline::of(content.bytes()).unwrap_or_default();
        match metadata::read(content.bytes()) {
            Ok(handlers) => found.handlers = (!handlers.is_empty()).then_some(handlers),
            Err(error) => found.notes.push(one_line(&error.to_string())),
        }
        found.needs = needs(&found.outline, &id, found.handlers.as_deref());
        let code = self.compiler.compile(content.bytes()).await?;
        let component = Cache::off(&self.engine).put(&content.hash, &code);
        let component = component.map_err(|error| Refusal::Invalid(said(&error)))?;
        let code = Code::new(&self.linker, &component)?;
        self.check_descriptors(&id, &code, found)
    }

    /// What it says of itself, as far as that is known before it runs.
    fn check_descriptors(
        &self,
        id: &PluginId,
        code: &Code,
        found: &mut Inspection,
    ) -> Result<(), Refusal> {
        let described = code.namespace.is_some()
            || code.middleware.is_some()
            || code.service.is_some()
            || code.controller.is_some();
        if code.incoming.is_some() && code.controller.is_none() {
            let path = path_by_name(&id.name)?;
            let note = format!("its controller names no path, and would be served at {path}/");
            found.notes.push(note);
        }
        match &found.handlers {
            Some(handlers) => handlers
                .iter()
                .try_for_each(|handler| check(handler.clone()).map(drop)),
            None => {
                if described {
                    let note = format!(
                        "it has no section `{}`: what its handlers are called is known only when it runs",
                        metadata::SECTION
                    );
                    found.notes.push(note);
                }
                Ok(())
            }
        }
    }
}

/// What a plugin with these imports and handlers wants.
fn needs(outline: &Outline, id: &PluginId, handlers: Option<&[Handler]>) -> Vec<Need> {
    let imports = |prefix: &str| outline.imports.iter().any(|name| name.starts_with(prefix));
    // Whose it is, its file alone does not say.
    let name = &id.name;
    let table = format!("[plugin.\"{name}\"] ([plugin.\"TENANT/{name}\"] for a tenant's)");
    let mut needs = Vec::new();
    let mut need = |what, why: String| needs.push(Need { what, why });
    if imports("wasi:http/outgoing-handler@") {
        need(
            "hosts",
            format!(
                "it sends HTTP requests, to the hosts that `hosts` in {table} lists and no others"
            ),
        );
    }
    if imports("wasi:config/") {
        need(
            "config",
            format!("it reads its configuration, which is `config` in {table}"),
        );
    }
    if imports("wasi:keyvalue/") {
        need(
            "store",
            "it keeps things in its tenant's store, up to limits.store-bytes".to_owned(),
        );
    }
    if imports("tulpar:plugin/ulak@") {
        need(
            "ulak",
            "it sends to the sockets of its tenant's other namespaces".to_owned(),
        );
    }
    for handler in handlers.unwrap_or_default() {
        let (Handler::Namespace { middlewares, .. } | Handler::Controller { middlewares, .. }) =
            handler
        else {
            continue;
        };
        for name in middlewares {
            let why = format!("it is not served before there is the middleware `{name}`");
            let wanted = Need {
                what: "middleware",
                why,
            };
            if !needs.contains(&wanted) {
                needs.push(wanted);
            }
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_wants_is_seen_by_its_imports_and_its_section() {
        let outline = Outline {
            imports: [
                "wasi:http/outgoing-handler@0.2.9",
                "wasi:config/store@0.2.0-rc.1",
                "wasi:keyvalue/atomics@0.2.0-draft2",
                "tulpar:plugin/ulak@0.1.0",
                "wasi:http/types@0.2.9",
            ]
            .map(String::from)
            .into(),
            ..Outline::default()
        };
        let id = PluginId {
            tenant: None,
            name: "a".into(),
        };
        let controller = Handler::Controller {
            path: "/a".into(),
            name: "A".into(),
            middlewares: vec!["m".into(), "m".into()],
        };
        let whats: Vec<_> = needs(&outline, &id, Some(&[controller]))
            .iter()
            .map(|need| need.what)
            .collect();
        assert_eq!(whats, ["hosts", "config", "store", "ulak", "middleware"]);
        assert_eq!(needs(&Outline::default(), &id, None), []);
    }
}
