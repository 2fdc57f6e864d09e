//! The attribute macros of the `tulpar` crate, which re-exports them. Use them from there.
//!
//! Each checks what the author wrote against the rules of the contract (`rules`), then adds to the impl what
//! the host asks a plugin for: the export, one value that lives as long as the instance, and a line of
//! metadata that can be read without running the plugin (`metadata`).

mod args;
mod handler;
mod metadata;
mod middleware;
mod namespace;
mod rules;

use proc_macro::TokenStream;

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
#[proc_macro_attribute]
pub fn namespace(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(namespace::expand(args.into(), item.into()))
}

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
#[proc_macro_attribute]
pub fn middleware(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(middleware::expand(args.into(), item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
