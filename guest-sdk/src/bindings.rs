//! What `wit_bindgen` makes of the contract in `wit/`, and nothing else.
//!
//! The worlds share the imported interfaces, so that the socket a handler is given and the one that
//! [`sockets::get`](crate::sockets::get) finds are one type. Only `private` speaks to the exports.

/// The host's functions. Messages are borrowed here: what a plugin sends is copied once, by the host.
pub mod imports {
    wit_bindgen::generate!({
        world: "imports",
        path: "../wit",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The exports of a plugin with a namespace.
pub mod namespace {
    wit_bindgen::generate!({
        world: "namespace",
        path: "../wit",
        with: {
            "tulpar:plugin/sockets@0.1.0": crate::bindings::imports::tulpar::plugin::sockets,
            "tulpar:plugin/rooms@0.1.0": crate::bindings::imports::tulpar::plugin::rooms,
            "tulpar:plugin/http@0.1.0": crate::bindings::imports::tulpar::plugin::http,
            "tulpar:plugin/log@0.1.0": crate::bindings::imports::tulpar::plugin::log,
        },
        pub_export_macro: true,
        export_macro_name: "export_namespace",
        default_bindings_module: "tulpar::private::namespace",
    });
}

/// The exports of a plugin with a middleware.
pub mod middleware {
    wit_bindgen::generate!({
        world: "middleware",
        path: "../wit",
        with: {
            "tulpar:plugin/sockets@0.1.0": crate::bindings::imports::tulpar::plugin::sockets,
            "tulpar:plugin/rooms@0.1.0": crate::bindings::imports::tulpar::plugin::rooms,
            "tulpar:plugin/http@0.1.0": crate::bindings::imports::tulpar::plugin::http,
            "tulpar:plugin/log@0.1.0": crate::bindings::imports::tulpar::plugin::log,
        },
        pub_export_macro: true,
        export_macro_name: "export_middleware",
        default_bindings_module: "tulpar::private::middleware",
    });
}
