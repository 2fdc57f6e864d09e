//! The whole server at a glance.

use serde::Serialize;

use super::{Admin, Known, PluginInfo};
use crate::plugin::describe::Loaded;

/// Everything that there are few of: sockets and rooms are told by [`super::listing`].
#[derive(Serialize)]
pub(super) struct Overview {
    server: ServerInfo,
    plugins: Vec<PluginInfo>,
    namespaces: Vec<NamespaceInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ServerInfo {
    version: &'static str,
    /// Drawn when the process starts.
    node: String,
    uptime_ms: u64,
    ready: bool,
    /// The other nodes that it reaches; none when there are to be no others.
    others: Option<u64>,
    /// Whether it has no connection to them.
    cut_off: bool,
    /// Where clients connect: `http://ADDRESS`, `https://ADDRESS` or `unix:PATH`.
    address: String,
    /// Whether the page to try the namespaces with is there, at `/` of that address.
    dev: bool,
    /// Whether files are taken in.
    uploads: bool,
}

/// How a namespace is reached. What it has and does, its plugin tells.
#[derive(Serialize)]
struct NamespaceInfo {
    path: String,
    name: String,
    /// `NAME`, or `TENANT/NAME`.
    plugin: String,
    tenant: Option<String>,
    middlewares: Vec<String>,
}

impl Admin {
    /// The server, its plugins and their namespaces.
    pub(super) fn overview(&self) -> Overview {
        let known = self.plugins.load();
        let about = &self.about;
        let uptime = about.started.elapsed().as_millis();
        let joined = self.backplane.numbers();
        Overview {
            server: ServerInfo {
                version: env!("CARGO_PKG_VERSION"),
                node: about.node.to_string(),
                uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
                ready: self.is_ready(),
                others: joined.connected.map(|_| joined.others),
                cut_off: joined.connected == Some(false),
                address: about.address.clone(),
                dev: self.config.load().dev,
                uploads: self.uploads.is_some(),
            },
            plugins: known.iter().map(PluginInfo::from).collect(),
            namespaces: namespaces(&known),
        }
    }
}

fn namespaces(known: &[Known]) -> Vec<NamespaceInfo> {
    let namespace = |known: &Known| {
        let namespace = namespace(known.loaded.as_deref()?)?;
        (!known.missing.contains_key(&namespace.path)).then_some(namespace)
    };
    let mut namespaces: Vec<_> = known.iter().filter_map(namespace).collect();
    namespaces.sort_by(|a, b| (&a.tenant, &a.path).cmp(&(&b.tenant, &b.path)));
    namespaces
}

fn namespace(loaded: &Loaded) -> Option<NamespaceInfo> {
    let namespace = loaded.namespace.as_ref()?;
    let id = loaded.plugin.id();
    Some(NamespaceInfo {
        path: namespace.sockets.path().to_owned(),
        name: namespace.name.clone(),
        plugin: id.key(),
        tenant: id.tenant.clone(),
        middlewares: namespace.middlewares.clone(),
    })
}
