//! Where the code that the macros write meets the generated bindings. Not for plugin authors: anything here
//! may change in any release.

use crate::bindings::imports::tulpar::plugin::{http, sockets};
use crate::bindings::middleware::exports::tulpar::plugin::middleware_handler;
use crate::bindings::middleware::tulpar::plugin::types::{Header, Response as RawResponse};
use crate::bindings::namespace::exports::tulpar::plugin::namespace_handler;
use crate::{CloseEvent, Context, Message, Middleware, Namespace, Response, Socket, Verdict};

pub use crate::bindings::{middleware, namespace};

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
