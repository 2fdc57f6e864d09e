//! What `bindgen!` makes of `wit/`, and nothing else.
#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "wit",
    // One world with every export: which of them a component has is asked for by its `GuestIndices`.
    inline: "
        package tulpar:host;
        world plugin {
            include tulpar:plugin/imports@0.1.0;
            export tulpar:plugin/namespace-handler@0.1.0;
            export tulpar:plugin/reload-hook@0.1.0;
            export tulpar:plugin/drain-hook@0.1.0;
            export tulpar:plugin/middleware-handler@0.1.0;
            export tulpar:plugin/service-handler@0.1.0;
            export tulpar:plugin/controller-handler@0.1.0;
        }
    ",
    world: "tulpar:host/plugin",
    imports: {
        "wasi:keyvalue/store": async | trappable,
        "wasi:keyvalue/atomics": async | trappable,
        "wasi:keyvalue/batch": async | trappable,
        "tulpar:plugin/cluster": async | trappable,
        "tulpar:plugin/ulak.to-socket": async | trappable,
        "tulpar:plugin/ulak.to-many": async | trappable,
        "tulpar:plugin/ulak.broadcast-all": async | trappable,
        "tulpar:plugin/ulak.bulk-send": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
    with: {
        "tulpar:plugin/sockets.socket": super::host::SocketHandle,
        "tulpar:plugin/http.context": super::host::ContextHandle,
        "wasi:keyvalue/store.bucket": super::host::BucketHandle,
    },
});
