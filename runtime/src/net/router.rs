//! Which path is whose.

use std::collections::HashMap;
use std::sync::Arc;

use crate::namespace::Namespace;
use crate::plugin::Plugin;
use crate::plugin::load::Loaded;

/// The paths that are served, and those that are not yet.
#[derive(Default)]
pub struct Router {
    routes: HashMap<String, Route>,
    waiting: Vec<Waiting>,
}

/// A path that is served.
pub struct Route {
    /// What serves it.
    pub namespace: Arc<Namespace>,
    /// The middlewares before it, in their order.
    pub middlewares: Vec<Arc<Plugin>>,
}

/// A namespace that is not served because middlewares are missing.
pub struct Waiting {
    /// The namespace.
    pub namespace: Namespace,
    /// The middlewares that no plugin is.
    pub missing: Vec<String>,
}

impl Router {
    /// The routes that the plugins describe. A namespace finds a middleware among its tenant's first, then in the
    /// root folder; one that does not find all of its own is not served at all.
    #[must_use]
    pub fn new(plugins: &[Arc<Loaded>]) -> Self {
        let mut router = Self::default();
        for loaded in plugins {
            let Some(descriptor) = &loaded.namespace else {
                continue;
            };
            let tenant = loaded.plugin.id().tenant.as_deref();
            let mut middlewares = Vec::new();
            let mut missing = Vec::new();
            for name in &descriptor.middlewares {
                match find(plugins, tenant, name).or_else(|| find(plugins, None, name)) {
                    Some(middleware) => middlewares.push(middleware.plugin.clone()),
                    None => missing.push(name.clone()),
                }
            }
            let plugin = loaded.plugin.clone();
            let namespace = Namespace::new(plugin, descriptor);
            if missing.is_empty() {
                router.mount(namespace, middlewares);
            } else {
                router.waiting.push(Waiting { namespace, missing });
            }
        }
        router
    }

    /// Serves a namespace on its path, behind these middlewares.
    pub fn mount(&mut self, namespace: Namespace, middlewares: Vec<Arc<Plugin>>) {
        let path = namespace.sockets().path().to_owned();
        let namespace = Arc::new(namespace);
        self.routes.insert(
            path,
            Route {
                namespace,
                middlewares,
            },
        );
    }

    /// What serves a path. It matches exactly.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Route> {
        self.routes.get(path)
    }

    /// Everything that is served, by path.
    #[must_use]
    pub fn routes(&self) -> Vec<&Route> {
        let mut routes: Vec<_> = self.routes.values().collect();
        routes.sort_by_key(|route| route.namespace.sockets().path());
        routes
    }

    /// Everything that waits for a middleware.
    #[must_use]
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }
}

fn find<'a>(
    plugins: &'a [Arc<Loaded>],
    tenant: Option<&str>,
    middleware: &str,
) -> Option<&'a Arc<Loaded>> {
    plugins.iter().find(|loaded| {
        loaded.plugin.id().tenant.as_deref() == tenant
            && loaded.middleware.as_deref() == Some(middleware)
    })
}
