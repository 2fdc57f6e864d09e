//! Write WebSocket handlers and middlewares for the Tulpar server.
//!
//! A plugin is a small crate that becomes one WebAssembly component. Drop the `.wasm` file into the server's
//! `plugins/` folder and it is served.
//!
//! ```toml
//! [package]
//! name = "chat"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! tulpar = "0.1"
//! ```
//!
//! ```
//! use tulpar::prelude::*;
//!
//! #[derive(Default)]
//! struct Chat {
//!     seen: u64,
//! }
//!
//! #[tulpar::namespace(path = "/chat", name = "ChatSocket")]
//! impl Namespace for Chat {
//!     fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
//!         ws.subscribe("general")?;
//!         ws.send("Welcome to chat!")
//!     }
//!
//!     fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
//!         self.seen += 1;
//!         ws.publish("general", Json(json!({ "number": self.seen, "text": message.to_string() })))?;
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! ```sh
//! cargo build --release --target wasm32-wasip2
//! cp target/wasm32-wasip2/release/chat.wasm path/to/plugins/
//! ```
//!
//! # Where to look
//! - [`Namespace`]: the handlers of the sockets of one path; [`Socket`]: one connection.
//! - [`rooms`] and [`sockets`]: everybody else in the namespace.
//! - [`Middleware`]: decides about requests before they become sockets; it sees them as a [`Context`].
//! - [`Error`]: what handlers fail with. [`log`]: what the operator reads.
//!
//! # Outside a component
//! Everything compiles natively too, so that a plugin's own logic can be tested with `cargo test`. The host's
//! functions exist only inside a component: a test that calls one panics.
//!
//! # Lints
//! A component's exports are `unsafe` to define, so the attributes allow that for what they write. A plugin can
//! `deny` the lint `unsafe_code`, but not `forbid` it.

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod bindings;
mod error;
pub mod log;
mod message;
mod middleware;
mod namespace;
#[doc(hidden)]
#[allow(missing_docs)]
pub mod private;
pub mod rooms;
mod socket;
pub mod sockets;
mod time;

pub use error::{Error, Result, SocketError};
pub use message::{IntoMessage, Json, Message, Payload};
pub use middleware::{Context, Middleware, Response, Verdict};
pub use namespace::{CloseEvent, Namespace};
pub use serde_json::{Value, json};
pub use socket::Socket;
pub use time::timestamp;

/// Decide about requests with an `impl Middleware for YourType`.
///
/// ```
/// use tulpar::prelude::*;
///
/// #[derive(Default)]
/// struct WsAuth;
///
/// #[tulpar::middleware(name = "ws-auth")]
/// impl Middleware for WsAuth {
///     fn handle(&mut self, cx: &Context) -> Result<Verdict> {
///         match cx.bearer_token() {
///             Some(_) => Ok(Verdict::Next),
///             None => Ok(Response::json(401, &json!({ "error": "Unauthorized" })).into()),
///         }
///     }
/// }
/// # fn main() {}
/// ```
///
/// - `name`: what namespaces list it by, 1 to 128 bytes. The type's name when left out.
///
/// The type implements [`Default`]. A plugin has at most one middleware; it may have a namespace beside it.
pub use tulpar_macros::middleware;

/// Serve the sockets of one path with an `impl Namespace for YourType`.
///
/// ```
/// use tulpar::prelude::*;
///
/// #[derive(Default)]
/// struct Chat;
///
/// #[tulpar::namespace(path = "/chat", name = "ChatSocket", middlewares = ["ws-auth"], protocols = ["v1"])]
/// impl Namespace for Chat {}
/// # fn main() {}
/// ```
///
/// - `path`: where it is mounted, matched exactly and case-sensitively. `/` first, at most 256 bytes, without
///   query, fragment, empty or dot segments, control characters and spaces. It must be given.
/// - `name`: for logs and tables, 1 to 128 bytes. The type's name when left out.
/// - `middlewares`: the names of the middlewares that an upgrade passes, in this order, at most 32. None when
///   left out. The server does not serve the namespace while one of them is missing.
/// - `protocols`: the subprotocols it speaks; the first that a client offers among them is chosen. Any when
///   left out.
///
/// The type implements [`Default`]. An impl without `type Data` gets `type Data = ();`. A plugin has at most
/// one namespace:
///
/// ```compile_fail,E0428
/// # use tulpar::prelude::*;
/// # #[derive(Default)] struct Chat;
/// # #[derive(Default)] struct News;
/// #[tulpar::namespace(path = "/chat")]
/// impl Namespace for Chat {}
///
/// #[tulpar::namespace(path = "/news")]
/// impl Namespace for News {}
/// # fn main() {}
/// ```
pub use tulpar_macros::namespace;

/// What a plugin uses: `use tulpar::prelude::*;`
pub mod prelude {
    pub use crate::{
        CloseEvent, Context, Error, Json, Message, Middleware, Namespace, Response, Result, Socket,
        SocketError, Value, Verdict, json, log, rooms, sockets,
    };
}

/// The listings of the guide and of the README, compiled with the other examples.
#[cfg(doctest)]
mod listings {
    #[doc = include_str!("../../docs/plugins.md")]
    struct Guide;
    #[doc = include_str!("../../README.md")]
    struct Readme;
}
