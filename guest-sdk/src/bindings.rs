//! What `wit_bindgen` makes of the contract in `wit/`, and nothing else.
//!
//! The worlds share the imported interfaces, so that the socket a handler is given and the one that
//! [`sockets::get`](crate::sockets::get) finds are one type. Only `private` speaks to the exports.

/// The host's functions. Messages are borrowed here: what a plugin sends is copied once, by the host.
pub mod imports {
    wit_bindgen::generate!({
        world: "imports",
        path: "wit",
        ownership: Borrowing { duplicate_if_necessary: true },
        generate_all,
    });
}

/// The exports of a world, whose imports are those above.
macro_rules! exports {
    ($world:tt, $export_macro:tt, $module:tt) => {
        wit_bindgen::generate!({
            world: $world,
            path: "wit",
            with: {
                "tulpar:plugin/sockets@0.1.0": crate::bindings::imports::tulpar::plugin::sockets,
                "tulpar:plugin/rooms@0.1.0": crate::bindings::imports::tulpar::plugin::rooms,
                "tulpar:plugin/ulak@0.1.0": crate::bindings::imports::tulpar::plugin::ulak,
                "tulpar:plugin/cluster@0.1.0": crate::bindings::imports::tulpar::plugin::cluster,
                "tulpar:plugin/http@0.1.0": crate::bindings::imports::tulpar::plugin::http,
                "tulpar:plugin/log@0.1.0": crate::bindings::imports::tulpar::plugin::log,
                "wasi:config/store@0.2.0-rc.1": crate::bindings::imports::wasi::config::store,
                "wasi:keyvalue/store@0.2.0-draft": crate::bindings::imports::wasi::keyvalue::store,
                "wasi:keyvalue/atomics@0.2.0-draft": crate::bindings::imports::wasi::keyvalue::atomics,
                "wasi:keyvalue/batch@0.2.0-draft": crate::bindings::imports::wasi::keyvalue::batch,
            },
            pub_export_macro: true,
            export_macro_name: $export_macro,
            default_bindings_module: $module,
        });
    };
}

/// The exports of a plugin with a namespace.
pub mod namespace {
    exports!(
        "namespace",
        "export_namespace",
        "tulpar::private::namespace"
    );
}

/// The export of a plugin whose namespace wants to be told that it replaces another.
pub mod namespace_reload {
    exports!(
        "namespace-reload",
        "export_namespace_reload",
        "tulpar::private::namespace_reload"
    );
}

/// The export of a plugin whose namespace wants to be told when a slow peer has got all that waited for it.
pub mod namespace_drain {
    exports!(
        "namespace-drain",
        "export_namespace_drain",
        "tulpar::private::namespace_drain"
    );
}

/// The exports of a plugin with a middleware.
pub mod middleware {
    exports!(
        "middleware",
        "export_middleware",
        "tulpar::private::middleware"
    );
}

/// The exports of a plugin with a service.
pub mod service {
    exports!("service", "export_service", "tulpar::private::service");
}

/// The exports of a plugin with a controller, but for `wasi:http/incoming-handler`.
pub mod controller {
    exports!(
        "controller",
        "export_controller",
        "tulpar::private::controller"
    );
}
