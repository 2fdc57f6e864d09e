//! Where the code that the macros write meets the generated bindings. Not for plugin authors: anything here
//! may change in any release.

use crate::bindings::controller::exports::tulpar::plugin::controller_handler;
use crate::bindings::imports::tulpar::plugin::{http, sockets};
use crate::bindings::middleware::exports::tulpar::plugin::middleware_handler;
use crate::bindings::middleware::tulpar::plugin::types::{Header, Response as RawResponse};
use crate::bindings::namespace::exports::tulpar::plugin::namespace_handler;
use crate::bindings::namespace_drain::exports::tulpar::plugin::drain_hook;
use crate::bindings::namespace_reload::exports::tulpar::plugin::reload_hook;
use crate::bindings::service::exports::tulpar::plugin::service_handler;
use crate::{
    CloseEvent, Context, Error, IntoResponse, Message, Middleware, Namespace, Request, Response,
    Socket, Verdict,
};

pub use wasip2;

pub use crate::bindings::{
    controller, middleware, namespace, namespace_drain, namespace_reload, service,
};
pub use crate::controller::{Method, Route, Segment};
pub use crate::wasi_http::serve;

/// What `#[tulpar::namespace]` says of a type.
pub trait NamespaceExport: Namespace + 'static {
    const PATH: &'static str;
    const NAME: &'static str;
    const MIDDLEWARES: &'static [&'static str];
    const PROTOCOLS: &'static [&'static str];

    /// Run `f` on the instance's one value.
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R;
}

impl<T: NamespaceExport> namespace_handler::Guest for T {
    fn describe() -> namespace_handler::Descriptor {
        namespace_handler::Descriptor {
            path: T::PATH.to_owned(),
            name: T::NAME.to_owned(),
            middlewares: owned(T::MIDDLEWARES),
            protocols: owned(T::PROTOCOLS),
        }
    }

    fn on_open(socket: &sockets::Socket) -> Result<(), String> {
        answer(T::with(|it| it.on_open(Socket::from_ref(socket))))
    }

    fn on_message(
        socket: &sockets::Socket,
        message: namespace_handler::Message,
    ) -> Result<(), String> {
        let message = match message {
            namespace_handler::Message::Text(text) => Message::Text(text),
            namespace_handler::Message::Binary(bytes) => Message::Binary(bytes),
        };
        answer(T::with(|it| {
            it.on_message(Socket::from_ref(socket), message)
        }))
    }

    fn on_close(
        socket: &sockets::Socket,
        event: namespace_handler::CloseEvent,
    ) -> Result<(), String> {
        let event = CloseEvent {
            code: event.code,
            reason: event.reason,
        };
        answer(T::with(|it| it.on_close(Socket::from_ref(socket), event)))
    }
}

// `#[tulpar::namespace]` exports a hook only for an impl that writes it.
impl<T: NamespaceExport> drain_hook::Guest for T {
    fn on_drain(socket: &sockets::Socket) -> Result<(), String> {
        answer(T::with(|it| it.on_drain(Socket::from_ref(socket))))
    }
}

impl<T: NamespaceExport> reload_hook::Guest for T {
    fn on_reload() -> Result<(), String> {
        answer(T::with(T::on_reload))
    }
}

/// What `#[tulpar::middleware]` says of a type.
pub trait MiddlewareExport: Middleware + 'static {
    const NAME: &'static str;

    /// Run `f` on the instance's one value.
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R;
}

impl<T: MiddlewareExport> middleware_handler::Guest for T {
    fn describe() -> middleware_handler::Descriptor {
        middleware_handler::Descriptor {
            name: T::NAME.to_owned(),
        }
    }

    fn handle(context: &http::Context) -> Result<middleware_handler::Verdict, String> {
        let verdict = answer(T::with(|it| it.handle(Context::from_ref(context))))?;
        Ok(match verdict {
            Verdict::Next => middleware_handler::Verdict::Next,
            Verdict::Respond(response) => middleware_handler::Verdict::Respond(raw(response)),
        })
    }
}

/// When something of a service is to be done.
#[derive(Debug, Clone, Copy)]
pub enum Timing {
    EveryMs(u64),
    Cron(&'static str),
}

/// What `#[tulpar::service]` says of a type.
pub trait ServiceExport: 'static {
    const NAME: &'static str;
    /// The methods that are to be run at times.
    const SCHEDULES: &'static [(&'static str, Timing)];

    /// Run `f` on the instance's one value.
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R;

    fn start(&mut self) -> crate::Result<()>;

    /// Run the method of that index.
    fn run(&mut self, schedule: usize) -> crate::Result<()>;

    fn stop(&mut self);
}

impl<T: ServiceExport> service_handler::Guest for T {
    fn describe() -> service_handler::Descriptor {
        let schedules = T::SCHEDULES.iter();
        service_handler::Descriptor {
            name: T::NAME.to_owned(),
            schedules: schedules
                .map(|&(name, timing)| service_handler::Schedule {
                    name: name.to_owned(),
                    timing: match timing {
                        Timing::EveryMs(ms) => service_handler::Timing::EveryMs(ms),
                        Timing::Cron(times) => service_handler::Timing::Cron(times.to_owned()),
                    },
                })
                .collect(),
        }
    }

    fn on_start() -> Result<(), String> {
        answer(T::with(T::start))
    }

    fn on_schedule(name: String) -> Result<(), String> {
        let mut schedules = T::SCHEDULES.iter();
        answer(match schedules.position(|(known, _)| *known == name) {
            Some(index) => T::with(|it| it.run(index)),
            None => Err(Error::msg(format_args!("there is no schedule `{name}`"))),
        })
    }

    fn on_stop() {
        T::with(T::stop);
    }
}

/// What `#[tulpar::controller]` says of a type.
pub trait ControllerExport: 'static {
    const PATH: &'static str;
    const NAME: &'static str;
    const MIDDLEWARES: &'static [&'static str];
    const ROUTES: &'static [Route];

    /// Run `f` on the instance's one value.
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R;

    /// Run the handler of the route of that index.
    fn call(&mut self, route: usize, request: &Request) -> crate::Result<Response>;
}

impl<T: ControllerExport> controller_handler::Guest for T {
    fn describe() -> controller_handler::Descriptor {
        controller_handler::Descriptor {
            path: T::PATH.to_owned(),
            name: T::NAME.to_owned(),
            middlewares: owned(T::MIDDLEWARES),
        }
    }
}

/// What a handler of a controller returned, as a response.
pub fn response<T: IntoResponse>(returned: crate::Result<T>) -> crate::Result<Response> {
    returned?.into_response()
}

fn raw(response: Response) -> RawResponse {
    let headers = response.headers.into_iter();
    RawResponse {
        status: response.status,
        headers: headers
            .map(|(name, value)| Header { name, value })
            .collect(),
        body: response.body,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

fn answer<T>(result: crate::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
