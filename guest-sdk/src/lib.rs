//! Write WebSocket handlers, middlewares, services and HTTP controllers for the Tulpar server.
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
//! - [`rooms`] and [`sockets`]: everybody else in the namespace; [`cluster`]: the same on all nodes.
//! - [`Middleware`]: decides about requests before they become sockets or reach a controller; it sees them as a
//!   [`Context`].
//! - [`service`](macro@service): works in the background: at the start, at times, at the stop.
//! - [`controller`](macro@controller): answers HTTP requests: a [`Request`] comes in, [`IntoResponse`] goes out.
//! - [`ulak`](mod@ulak): send to any namespace from any of these.
//! - [`kv`]: what outlives an instance. [`config`]: what the operator has set. [`fetch`]: other servers.
//! - [`Error`]: what handlers fail with. [`log`]: what the operator reads.
//!
//! A plugin has one namespace, one middleware, one service and one controller, or some of them. Each has a value
//! and an instance of its own: what they share goes by [`ulak`](mod@ulak) and [`kv`].
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
pub mod cluster;
pub mod config;
mod controller;
mod error;
pub mod fetch;
pub mod kv;
pub mod log;
mod message;
mod middleware;
mod namespace;
#[doc(hidden)]
#[allow(missing_docs)]
pub mod private;
mod request;
mod response;
pub mod rooms;
mod socket;
pub mod sockets;
mod time;
pub mod ulak;
mod wasi_http;

pub use error::{Error, Result, SocketError};
pub use message::{IntoMessage, Json, Message, Payload};
pub use middleware::{Context, Middleware, Verdict};
pub use namespace::{CloseEvent, Namespace};
pub use request::Request;
pub use response::{IntoResponse, Response};
pub use serde_json::{Value, json};
pub use socket::Socket;
pub use time::timestamp;
pub use ulak::{Ulak, UlakError, UlakErrorCode, ulak};

/// Answer HTTP requests to a path and everything below it with the methods of an `impl YourType`.
///
/// ```
/// use tulpar::prelude::*;
///
/// const NOTIFICATIONS: Ulak<'static> = ulak("/notifications");
///
/// #[derive(Default)]
/// struct Admin;
///
/// #[tulpar::controller("/admin", name = "AdminController", middlewares = ["ws-auth"])]
/// impl Admin {
///     #[post("/announcement")]
///     fn announce(&mut self, request: &Request) -> Result<impl IntoResponse> {
///         let body: Value = request.json()?;
///         NOTIFICATIONS.to("announcements", Json(json!({ "message": body["message"] })))?;
///         Ok(Json(json!({ "success": true })))
///     }
///
///     #[get("/users/{id}")]
///     fn user(&self, request: &Request) -> Result<Json<Value>> {
///         let users = kv::open("users")?;
///         let user = users.get_json(request.param("id")?)?;
///         Ok(Json(user.ok_or_else(|| Error::status(404, "no such user"))?))
///     }
///
///     #[delete("/users/{id}")]
///     fn remove(&self, request: &Request) -> Result<()> {
///         Ok(kv::open("users")?.delete(request.param("id")?)?)
///     }
/// }
/// # fn main() {}
/// ```
///
/// - `path`, or the first argument without a name: what it serves, with everything below. The rules are those of a
///   namespace's path. It must be given.
/// - `name`: for logs and tables, 1 to 128 bytes. The type's name when left out.
/// - `middlewares`: the names of the middlewares that a request passes, in this order, at most 32. None when left
///   out. The server does not serve the controller while one of them is missing.
///
/// # Routes
/// A method with `#[get]`, `#[post]`, `#[put]`, `#[patch]` or `#[delete]` is a handler; one with several of them
/// answers several routes, and one with none is a method like any other. The path in the parentheses is relative to
/// the controller's: nothing or `/` for the controller itself, `{name}` for any one segment that is not empty, and at
/// the end `{*rest}` for all that follows, one segment at least. [`Request::param`] has what stands there. Letters beyond
/// ASCII are written as they are: `#[get("/ürün")]` answers to `/%C3%BCr%C3%BCn`, as browsers send it.
///
/// Where several routes take a path, the first segment in which they differ decides: a literal goes before a
/// parameter, and that before a rest. Two that nothing tells apart do not compile. `HEAD` is served by the handlers of
/// `#[get]`, without the body. No route: 404 `{"error":"Not Found"}`; none of this method: 405
/// `{"error":"Method Not Allowed"}` with the header Allow.
///
/// # Handlers
/// A handler takes `&self` or `&mut self`, and `request: &Request` or nothing, and returns a [`Result`] of what
/// [`IntoResponse`] is there for. An error made with [`Error::status`] answers that status and `{"error":"its text"}`.
/// Any other is a 500 `{"error":"Internal Server Error"}`, and its text goes to the log.
///
/// Each request has an instance of its own, so that what a handler writes to `self` is gone afterwards; [`kv`] is for
/// what has to last. The type implements [`Default`]. A plugin has at most one controller.
pub use tulpar_macros::controller;

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
/// - `name`: what namespaces and controllers list it by, 1 to 128 bytes. The type's name when left out.
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
///   query, fragment, empty or dot segments, control characters and spaces; letters beyond ASCII percent-encoded, as browsers
///   send them. It must be given.
/// - `name`: for logs and tables, 1 to 128 bytes. The type's name when left out.
/// - `middlewares`: the names of the middlewares that an upgrade passes, in this order, at most 32. None when
///   left out. The server does not serve the namespace while one of them is missing.
/// - `protocols`: the subprotocols it speaks, at most 32 of 128 bytes each; the first that a client offers among them
///   is chosen. Any when left out.
///
/// The type implements [`Default`]. An impl without `type Data` gets `type Data = ();`, and only one that writes
/// [`on_drain`](Namespace::on_drain) is told when a slow peer has got all, and
/// [`on_reload`](Namespace::on_reload) when its file has been replaced. A plugin has at most one namespace:
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

/// Work in the background with the methods of an `impl YourType`: at the start, at times, at the stop.
///
/// ```
/// use tulpar::prelude::*;
///
/// #[derive(Default)]
/// struct UserService {
///     greeting: String,
/// }
///
/// #[tulpar::service(name = "UserService")]
/// impl UserService {
///     fn on_start(&mut self) -> Result<()> {
///         self.greeting = config::get("greeting")?.unwrap_or_else(|| "hello".into());
///         Ok(())
///     }
///
///     #[every("30s")]
///     fn greet(&mut self) -> Result<()> {
///         ulak::broadcast("/chat", &self.greeting)?;
///         Ok(())
///     }
///
///     #[cron("0 9 * * 1-5")]
///     fn good_morning(&mut self) -> Result<()> {
///         self.tell("announcements", "good morning")
///     }
///
///     fn on_stop(&mut self) {
///         log::info("the service has stopped");
///     }
///
///     fn tell(&self, room: &str, text: &str) -> Result<()> {
///         ulak::to("/notifications", room, text)?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// ```
///
/// - `name`: for logs and tables, 1 to 128 bytes. The type's name when left out.
///
/// These methods are called by the server, and all others are methods like any other:
/// - `fn on_start(&mut self) -> Result<()>`: before the server accepts connections, or when the plugin is dropped in;
///   again in a new instance when one was lost. After an error the schedules do not run.
/// - `#[every("30s")]` on a `fn x(&mut self) -> Result<()>`: each time that so long has passed, 10 ms to 366 days,
///   written such as `500ms`, `5m`, `1h 30m`.
/// - `#[cron("0 9 * * 1-5")]` on one: at these times in UTC: minute, hour, day of the month, month and day of the week,
///   with the second before them when there are six.
/// - `fn on_stop(&mut self)`: the server stops, and the sockets have been closed.
///
/// A schedule goes by its method's name. It is never run twice at once: a time that comes while it still runs is left
/// out. Its errors go to the log. There are at most 32.
///
/// The type implements [`Default`]. One value lives as long as the instance, which the server replaces when a method
/// panics or overruns its deadline. A plugin has at most one service:
///
/// ```compile_fail,E0428
/// # #[derive(Default)] struct Users;
/// # #[derive(Default)] struct Mail;
/// #[tulpar::service]
/// impl Users {}
///
/// #[tulpar::service]
/// impl Mail {}
/// # fn main() {}
/// ```
pub use tulpar_macros::service;

/// What a plugin uses: `use tulpar::prelude::*;`
pub mod prelude {
    pub use crate::{
        CloseEvent, Context, Error, IntoResponse, Json, Message, Middleware, Namespace, Request,
        Response, Result, Socket, SocketError, Ulak, UlakError, UlakErrorCode, Value, Verdict,
        cluster, config, fetch, json, kv, log, rooms, sockets, ulak,
    };
}
