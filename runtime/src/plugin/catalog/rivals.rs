//! Which plugins cannot be served beside each other: rule P4.

use super::super::describe::Loaded;
use super::super::load::Refusal;

/// The plugin, unless one of the others has its path, or one of the same tenant its middleware's or service's name.
pub(super) fn check_free<'a>(
    others: impl Iterator<Item = &'a Loaded>,
    new: Loaded,
) -> Result<Loaded, Refusal> {
    for old in others {
        if old.plugin.id() == new.plugin.id() {
            continue;
        }
        let taken = |what: String| Refusal::Taken {
            what,
            holder: old.plugin.id().to_string(),
        };
        if let (Some(a), Some(b)) = (&old.namespace, &new.namespace)
            && a.sockets.path() == b.sockets.path()
        {
            return Err(taken(format!("the path {}", a.sockets.path())));
        }
        if let Some(path) = lies_in(old, &new).or_else(|| lies_in(&new, old)) {
            return Err(taken(format!("what is below {path}")));
        }
        if let (Some(a), Some(b)) = (&old.controller, &new.controller)
            && a.mount == b.mount
        {
            return Err(taken(format!("the controller path {}/", a.mount)));
        }
        let same_tenant = old.plugin.id().tenant == new.plugin.id().tenant;
        if let (Some(a), Some(b)) = (&old.middleware, &new.middleware)
            && a == b
            && same_tenant
        {
            return Err(taken(format!("the middleware name {a}")));
        }
        if let (Some(a), Some(b)) = (&old.service, &new.service)
            && a.name == b.name
            && same_tenant
        {
            return Err(taken(format!("the service name {}", a.name)));
        }
    }
    Ok(new)
}

/// The path of a tenant whose plugins would serve a part of what a controller of the root folder serves, past its
/// middlewares.
fn lies_in(root: &Loaded, of_tenant: &Loaded) -> Option<String> {
    let controller = root.controller.as_ref()?;
    let tenant = of_tenant.plugin.id().tenant.as_ref()?;
    let first = controller.mount.split('/').nth(1)?;
    let serves = of_tenant.controller.is_some() || of_tenant.namespace.is_some();
    (root.plugin.id().tenant.is_none() && first == tenant && serves).then(|| format!("/{tenant}"))
}
