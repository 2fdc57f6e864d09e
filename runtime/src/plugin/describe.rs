//! What a plugin says of itself: asked, and checked against the rules of the contract.

mod rules;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use croner::Cron;

use self::rules::{check_controller, check_name, check_namespace, check_service};
use super::bindings::exports::tulpar::plugin::{
    controller_handler, namespace_handler, service_handler,
};
use super::host::one_line;
use super::instance::{Guest, Instance, finished};
use super::load::Refusal;
use super::metadata::{self, Handler, ScheduleAtRest};
use super::tally::Call;
use super::{Generation, Plugin};
use crate::hub;

/// A generation of a plugin, ready to be entered, and what it says of itself.
pub struct Loaded {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The generation of it that this is.
    pub generation: Arc<Generation>,
    /// The namespace it serves.
    pub namespace: Option<NamespaceDescriptor>,
    /// The name of the middleware it is.
    pub middleware: Option<String>,
    /// The controller it is.
    pub controller: Option<ControllerDescriptor>,
    /// The service it is.
    pub service: Option<ServiceDescriptor>,
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

/// What a plugin says of its controller.
pub struct ControllerDescriptor {
    /// The path that it serves with everything below. It begins with the tenant's, when there is one, and does not end in
    /// `/`, so that it is empty for everything.
    pub mount: String,
    /// A name for logs and tables.
    pub name: String,
    /// The middlewares that a request passes, in their order.
    pub middlewares: Vec<String>,
}

/// What a plugin says of its service.
pub struct ServiceDescriptor {
    /// A name for logs and tables.
    pub name: String,
    /// What is to be done at times.
    pub schedules: Vec<Schedule>,
}

/// Something that a service does at times.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What the service calls it.
    pub name: String,
    /// When it is to be done.
    pub timing: Timing,
}

/// When something is to be done.
#[derive(Clone, Debug)]
pub enum Timing {
    /// Each time that so much has passed.
    Every(Duration),
    /// At the times of a cron expression, in UTC.
    Cron {
        /// As it was written.
        expression: String,
        /// What it means.
        cron: Box<Cron>,
    },
}

/// Asks the plugin what it is, in an instance of its own that serves nothing else.
pub(super) async fn describe(
    plugin: Arc<Plugin>,
    generation: &Generation,
) -> Result<Loaded, Refusal> {
    let mut instance = Instance::new(&plugin, generation, plugin.event_deadline()).await?;
    instance.arm();
    let Instance {
        mut store,
        clock,
        guest:
            Guest {
                namespace,
                middleware,
                service,
                controller,
                incoming,
                ..
            },
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
        let service = match service {
            Some(guest) => Some(guest.call_describe(&mut store).await?),
            None => None,
        };
        let controller = match controller {
            Some(guest) => Some(guest.call_describe(&mut store).await?),
            None => None,
        };
        wasmtime::error::Ok((namespace, middleware, service, controller))
    };
    let (namespace, middleware, service, controller) =
        finished(clock.run(Call::Describe, pin!(asked)).await)?;
    if let Some(middleware) = &middleware {
        check_name("the name of a middleware", &middleware.name)?;
    }
    let namespace = namespace.map(|said| mount(&plugin, said)).transpose()?;
    let controller = match controller {
        Some(said) => Some(mount_controller(&plugin, said)?),
        None => incoming.map(|_| mount_by_name(&plugin)).transpose()?,
    };
    let sockets = namespace
        .as_ref()
        .map(|namespace| namespace.sockets.clone());
    Ok(Loaded {
        generation: Arc::new(generation.with(sockets)),
        namespace,
        middleware: middleware.map(|middleware| middleware.name),
        controller,
        service: service.map(check_service).transpose()?,
        plugin,
    })
}

/// Checks a descriptor without a plugin, and returns the schedules in it. For what is said at rest, and for the fuzz
/// targets, which cannot make a component of each input.
///
/// # Errors
/// It is one that no plugin may have.
#[doc(hidden)]
pub fn check(said: Handler) -> Result<Vec<Schedule>, Refusal> {
    match said {
        Handler::Namespace {
            path,
            name,
            middlewares,
            protocols,
        } => check_namespace(&namespace_handler::Descriptor {
            path,
            name,
            middlewares,
            protocols,
        })?,
        Handler::Controller {
            path,
            name,
            middlewares,
        } => check_controller(&controller_handler::Descriptor {
            path,
            name,
            middlewares,
        })?,
        Handler::Middleware { name } => check_name("the name of a middleware", &name)?,
        Handler::Service { name, schedules } => {
            let schedules = schedules.into_iter();
            let schedules = schedules.map(|schedule| service_handler::Schedule {
                name: schedule.name,
                timing: match schedule.cron {
                    Some(expression) => service_handler::Timing::Cron(expression),
                    None => service_handler::Timing::EveryMs(schedule.every_ms.unwrap_or(0)),
                },
            });
            let said = service_handler::Descriptor {
                name,
                schedules: schedules.collect(),
            };
            return Ok(check_service(said)?.schedules);
        }
    }
    Ok(Vec::new())
}

fn mount(
    plugin: &Plugin,
    said: namespace_handler::Descriptor,
) -> Result<NamespaceDescriptor, Refusal> {
    check_namespace(&said)?;
    let path = below_tenant(plugin, &said.path);
    // What takes the place of a generation with the same path takes over its sockets.
    let present = plugin.generation().namespace.clone();
    let sockets = present.filter(|sockets| sockets.path() == path);
    Ok(NamespaceDescriptor {
        sockets: sockets.unwrap_or_else(|| {
            Arc::new(hub::Namespace::new(
                plugin.id.tenant.as_deref(),
                path,
                &plugin.settings().limits,
                plugin.account.clone(),
            ))
        }),
        name: said.name,
        middlewares: said.middlewares,
        protocols: said.protocols,
    })
}

fn mount_controller(
    plugin: &Plugin,
    said: controller_handler::Descriptor,
) -> Result<ControllerDescriptor, Refusal> {
    check_controller(&said)?;
    Ok(ControllerDescriptor {
        mount: mount_of(plugin, &said.path),
        name: said.name,
        middlewares: said.middlewares,
    })
}

/// A controller that says nothing of itself, as one of another origin, is found at its file's name.
fn mount_by_name(plugin: &Plugin) -> Result<ControllerDescriptor, Refusal> {
    let name = &plugin.id.name;
    Ok(ControllerDescriptor {
        mount: mount_of(plugin, &path_by_name(name)?),
        name: name.clone(),
        middlewares: Vec::new(),
    })
}

/// The path of a controller that says nothing of itself.
pub(super) fn path_by_name(name: &str) -> Result<String, Refusal> {
    let path = format!("/{name}");
    if let Some(problem) = hub::Namespace::path_problem(&path) {
        return Err(Refusal::Name(format!(
            "the path of a controller that names none is its file's name, and {path:?} {problem}"
        )));
    }
    check_name("the name of a controller", name)?;
    Ok(path)
}

fn below_tenant(plugin: &Plugin, path: &str) -> String {
    match &plugin.id.tenant {
        Some(tenant) => format!("/{tenant}{path}"),
        None => path.to_owned(),
    }
}

fn mount_of(plugin: &Plugin, path: &str) -> String {
    below_tenant(plugin, path).trim_end_matches('/').to_owned()
}

/// Says so when the section at rest tells something else than `describe()` does.
pub(super) fn warn_of_difference(
    loaded: &Loaded,
    at_rest: Result<Vec<Handler>, metadata::MetadataError>,
) {
    let id = &loaded.plugin.id;
    let at_rest = match at_rest {
        Ok(handlers) if handlers.is_empty() => return,
        Ok(handlers) => handlers,
        // It quotes the section, which is the plugin's.
        Err(error) => return tracing::warn!(plugin = %id, "{}", one_line(&error.to_string())),
    };
    let described = at_rest_of(loaded);
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

/// What the section at rest should tell of a plugin.
fn at_rest_of(loaded: &Loaded) -> Vec<Handler> {
    let tenant = loaded
        .plugin
        .id
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
    let controller = loaded.controller.iter().map(|controller| {
        let path = &controller.mount[tenant.len()..];
        Handler::Controller {
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            name: controller.name.clone(),
            middlewares: controller.middlewares.clone(),
        }
    });
    let service = loaded.service.iter().map(|service| Handler::Service {
        name: service.name.clone(),
        schedules: service.schedules.iter().map(ScheduleAtRest::from).collect(),
    });
    namespace
        .chain(middleware)
        .chain(controller)
        .chain(service)
        .collect()
}

impl From<&Schedule> for ScheduleAtRest {
    fn from(schedule: &Schedule) -> Self {
        let (every_ms, cron) = match &schedule.timing {
            Timing::Every(every) => (u64::try_from(every.as_millis()).ok(), None),
            Timing::Cron { expression, .. } => (None, Some(expression.clone())),
        };
        Self {
            name: schedule.name.clone(),
            every_ms,
            cron,
        }
    }
}
