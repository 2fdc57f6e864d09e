//! Which path is whose.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::controller::Controller;
use crate::namespace::Namespace;
use crate::plugin::Plugin;
use crate::plugin::describe::Loaded;

/// The paths that are served, and those that are not yet.
#[derive(Default)]
pub struct Router {
    routes: HashMap<String, Route>,
    /// Those with the longest paths first.
    controllers: Vec<ControllerRoute>,
    waiting: Vec<Waiting>,
}

/// A namespace that is served.
pub struct Route {
    /// What serves it.
    pub namespace: Arc<Namespace>,
    /// The middlewares before it, in their order.
    pub middlewares: Vec<Arc<Plugin>>,
    /// Whose it is; none for the root folder.
    pub tenant: Option<String>,
}

/// A controller that is served.
pub struct ControllerRoute {
    /// What serves it.
    pub controller: Arc<Controller>,
    /// The middlewares before it, in their order.
    pub middlewares: Vec<Arc<Plugin>>,
}

/// A path that is not served because middlewares are missing.
#[derive(Clone)]
pub struct Waiting {
    /// The path.
    pub path: String,
    /// The plugin's file.
    pub source: String,
    /// The middlewares that no plugin is.
    pub missing: Vec<String>,
}

impl Waiting {
    /// What the operator is told about it.
    #[must_use]
    pub fn in_words(&self) -> String {
        not_served(&self.path, &self.source, &self.missing)
    }
}

/// What the operator is told about a path of a plugin that waits for middlewares.
#[must_use]
pub fn not_served(path: &str, plugin: &str, missing: &[String]) -> String {
    let missing: Vec<_> = missing.iter().map(|it| format!("`{it}`")).collect();
    let missing = missing.join(", ");
    format!("not served {path} ({plugin}): missing middleware {missing}")
}

impl Router {
    /// The routes that the plugins describe. A plugin finds a middleware among its tenant's first, then in the root
    /// folder; what does not find all of its own is not served at all.
    #[must_use]
    pub fn new(plugins: &[Arc<Loaded>]) -> Self {
        let mut router = Self::default();
        for loaded in plugins {
            let plugin = &loaded.plugin;
            if let Some(descriptor) = &loaded.namespace {
                let path = descriptor.sockets.path();
                if let Some(middlewares) =
                    router.chain(plugins, plugin, path, &descriptor.middlewares)
                {
                    let namespace = Namespace::new(plugin.clone(), descriptor);
                    router.mount(namespace, middlewares, plugin.id().tenant.clone());
                }
            }
            if let Some(descriptor) = &loaded.controller {
                let path = format!("{}/", descriptor.mount);
                if let Some(middlewares) =
                    router.chain(plugins, plugin, &path, &descriptor.middlewares)
                {
                    let controller = Controller::new(plugin.clone(), descriptor);
                    router.controllers.push(ControllerRoute {
                        controller: Arc::new(controller),
                        middlewares,
                    });
                }
            }
        }
        router
            .controllers
            .sort_by_key(|route| std::cmp::Reverse(route.controller.mount.len()));
        router
    }

    /// The same for as long as a plugin takes another's place, so that neither is ever reached past a middleware of its own:
    /// each path is behind its middlewares of before as well, and what was not served yet is not served already. What waits
    /// is what waited before: it is not settled yet which of them it will be.
    #[must_use]
    pub fn as_strict_as(mut self, before: &Self) -> Self {
        self.routes.retain(|path, route| {
            let before = before.routes.get(path);
            add(&mut route.middlewares, before.map(|it| &*it.middlewares));
            before.is_some()
        });
        self.controllers.retain_mut(|route| {
            let mut before = before.controllers.iter();
            let before = before.find(|it| it.controller.mount == route.controller.mount);
            add(&mut route.middlewares, before.map(|it| &*it.middlewares));
            before.is_some()
        });
        self.waiting.clone_from(&before.waiting);
        self
    }

    /// The middlewares of these names; none when some are missing, and the path waits for them.
    fn chain(
        &mut self,
        plugins: &[Arc<Loaded>],
        plugin: &Plugin,
        path: &str,
        names: &[String],
    ) -> Option<Vec<Arc<Plugin>>> {
        let tenant = plugin.id().tenant.as_deref();
        let mut middlewares = Vec::new();
        let mut missing = Vec::new();
        for name in names {
            match find(plugins, tenant, name).or_else(|| find(plugins, None, name)) {
                Some(middleware) => middlewares.push(middleware.plugin.clone()),
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() {
            return Some(middlewares);
        }
        self.waiting.push(Waiting {
            path: path.to_owned(),
            source: plugin.id().to_string(),
            missing,
        });
        None
    }

    /// Serves a namespace on its path, behind these middlewares.
    pub fn mount(
        &mut self,
        namespace: Namespace,
        middlewares: Vec<Arc<Plugin>>,
        tenant: Option<String>,
    ) {
        let path = namespace.sockets().path().to_owned();
        let namespace = Arc::new(namespace);
        self.routes.insert(
            path,
            Route {
                namespace,
                middlewares,
                tenant,
            },
        );
    }

    /// The namespace of a path. It matches exactly.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Route> {
        self.routes.get(path)
    }

    /// The controller of a path: the one with the longest path that covers it.
    #[must_use]
    pub fn find_controller(&self, path: &str) -> Option<&ControllerRoute> {
        self.controllers
            .iter()
            .find(|route| route.controller.covers(path))
    }

    /// The controllers that are served, by path.
    #[must_use]
    pub fn controllers(&self) -> Vec<&ControllerRoute> {
        let mut controllers: Vec<_> = self.controllers.iter().collect();
        controllers.sort_by_key(|route| &route.controller.mount);
        controllers
    }

    /// The namespaces that are served, by path.
    #[must_use]
    pub fn routes(&self) -> Vec<&Route> {
        let mut routes: Vec<_> = self.routes.values().collect();
        routes.sort_by_key(|route| route.namespace.sockets().path());
        routes
    }

    /// What waits for a middleware.
    #[must_use]
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// The paths of a plugin that are not served, and the middlewares that each waits for.
    #[must_use]
    pub fn missing(&self, plugin: &Plugin) -> BTreeMap<String, Vec<String>> {
        let source = plugin.id().to_string();
        let waiting = self.waiting.iter().filter(|it| it.source == source);
        let waiting = waiting.map(|it| (it.path.clone(), it.missing.clone()));
        waiting.collect()
    }
}

/// Adds the middlewares that are not in a chain yet.
fn add(chain: &mut Vec<Arc<Plugin>>, others: Option<&[Arc<Plugin>]>) {
    for other in others.into_iter().flatten() {
        if !chain.iter().any(|plugin| Arc::ptr_eq(plugin, other)) {
            chain.push(other.clone());
        }
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
