//! The attribute macros of the `tulpar` crate, which re-exports and documents them. Use them from there.
//!
//! Each checks what the author wrote against the rules of the contract (`rules`), then adds to the impl what
//! the host asks a plugin for: the export, one value that lives as long as the instance, and a line of
//! metadata that can be read without running the plugin (`metadata`).

mod args;
mod controller;
mod handler;
mod metadata;
mod method;
mod middleware;
mod namespace;
mod route;
mod rules;
mod schedule;
mod service;
mod timing;

use proc_macro::TokenStream;

/// See `tulpar::namespace`.
#[proc_macro_attribute]
pub fn namespace(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(namespace::expand(args.into(), item.into()))
}

/// See `tulpar::middleware`.
#[proc_macro_attribute]
pub fn middleware(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(middleware::expand(args.into(), item.into()))
}

/// See `tulpar::service`.
#[proc_macro_attribute]
pub fn service(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(service::expand(args.into(), item.into()))
}

/// See `tulpar::controller`.
#[proc_macro_attribute]
pub fn controller(args: TokenStream, item: TokenStream) -> TokenStream {
    finish(controller::expand(args.into(), item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
