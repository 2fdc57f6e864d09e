//! Each row of the gauntlet for a moment: the attacker meets what is promised, the neighbour loses nothing and waits for
//! nobody, and the server's memory comes back. The figures are `make gauntlet`'s.

use tulpar_hostile::{Pace, plain, rows, run};

fn holds(name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let row = rows().into_iter().find(|row| row.name == name);
    let row = row.unwrap_or_else(|| panic!("there is no row `{name}`"));
    let outcome = runtime.block_on(run(&row, Pace::brief()));
    assert!(
        outcome.faults.is_empty(),
        "{}\n{:#?}",
        plain(&outcome),
        outcome.faults
    );
}
/// A test for each row, named after it, and one that none was forgotten.
macro_rules! rows {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                holds($name);
            }
        )*

        #[test]
        fn each_row_has_a_test() {
            let tested = [$($name),*];
            let named: Vec<_> = rows().into_iter().map(|row| row.name).collect();
            assert_eq!(named, tested);
        }
    };
}

rows! {
    endless_loop: "endless-loop",
    endless_recursion: "endless-recursion",
    just_in_time: "just-in-time",
    busy_service: "busy-service",
    memory_grow: "memory-grow",
    huge_copy: "huge-copy",
    huge_fill: "huge-fill",
    huge_strings: "huge-strings",
    table_growth: "table-growth",
    handle_bomb: "handle-bomb",
    bucket_bomb: "bucket-bomb",
    trap_on_every_call: "trap-on-every-call",
    trap_in_on_close: "trap-in-on-close",
    hanging_middleware: "hanging-middleware",
    flooding_middleware: "flooding-middleware",
    endless_stream: "endless-stream",
    room_bomb: "room-bomb",
    subscription_bomb: "subscription-bomb",
    subscription_churn: "subscription-churn",
    publish_storm: "publish-storm",
    log_bomb: "log-bomb",
    flood_socket_id: "flood socket.id",
    flood_socket_remote_address: "flood socket.remote-address",
    flood_socket_values: "flood socket.values",
    flood_socket_set_values: "flood socket.set-values",
    flood_socket_send: "flood socket.send",
    flood_socket_ping: "flood socket.ping",
    flood_socket_buffered_amount: "flood socket.buffered-amount",
    flood_socket_subscribe: "flood socket.subscribe",
    flood_socket_unsubscribe: "flood socket.unsubscribe",
    flood_socket_is_subscribed: "flood socket.is-subscribed",
    flood_socket_rooms: "flood socket.rooms",
    flood_socket_publish: "flood socket.publish",
    flood_socket_close: "flood socket.close",
    flood_socket_terminate: "flood socket.terminate",
    flood_sockets_get: "flood sockets.get",
    flood_sockets_ids: "flood sockets.ids",
    flood_sockets_count: "flood sockets.count",
    flood_rooms_names: "flood rooms.names",
    flood_rooms_members: "flood rooms.members",
    flood_rooms_count: "flood rooms.count",
    flood_rooms_to: "flood rooms.to",
    flood_rooms_broadcast: "flood rooms.broadcast",
    flood_ulak_broadcast: "flood ulak.broadcast",
    flood_ulak_to: "flood ulak.to",
    flood_ulak_to_socket: "flood ulak.to-socket",
    flood_ulak_to_many: "flood ulak.to-many",
    flood_ulak_broadcast_all: "flood ulak.broadcast-all",
    flood_ulak_bulk_send: "flood ulak.bulk-send",
    flood_ulak_namespaces: "flood ulak.namespaces",
    flood_ulak_has_namespace: "flood ulak.has-namespace",
    flood_ulak_socket_count: "flood ulak.socket-count",
    flood_cluster_socket_count: "flood cluster.socket-count",
    flood_cluster_socket_ids: "flood cluster.socket-ids",
    flood_cluster_room_names: "flood cluster.room-names",
    flood_cluster_room_count: "flood cluster.room-count",
    flood_cluster_room_members: "flood cluster.room-members",
    flood_log: "flood log",
    flood_stdout: "flood stdout",
    flood_config_get: "flood config.get",
    flood_config_get_all: "flood config.get-all",
    flood_kv_open: "flood kv.open",
    flood_kv_get: "flood kv.get",
    flood_kv_set: "flood kv.set",
    flood_kv_increment: "flood kv.increment",
    flood_kv_keys: "flood kv.keys",
    flood_kv_delete: "flood kv.delete",
    flood_kv_set_many: "flood kv.set-many",
    flood_kv_get_many: "flood kv.get-many",
    flood_fetch: "flood fetch",
    flood_clocks_now: "flood clocks.now",
    flood_random_get: "flood random.get",
    name_tricks: "name-tricks",
    describe_loops: "describe-loops",
    describe_traps: "describe-traps",
    describe_lies: "describe-lies",
    oversize: "oversize",
    compiled_code: "compiled-code",
    truncated: "truncated",
    bit_flipped: "bit-flipped",
    compile_bomb: "compile-bomb",
    compile_many_functions: "compile-many-functions",
    compile_deep_nesting: "compile-deep-nesting",
    many_memories: "many-memories",
    many_instances: "many-instances",
}
