//! What all inputs of a target have in common: the host with a guest's code, its limits and its store.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tulpar_runtime::backplane::Local;
use tulpar_runtime::config::{Config, ConfigValue, Given, Limits, Quotas, Sockets};
use tulpar_runtime::ids::PluginId;
use tulpar_runtime::plugin::compile::Compiler;
use tulpar_runtime::plugin::describe::Loaded;
use tulpar_runtime::plugin::load::{Content, load};
use tulpar_runtime::plugin::{Shared, Surroundings};
use tulpar_runtime::ulak::Ulak;

/// The name of the host's threads.
pub const THREAD: &str = "host";

fn limits() -> Limits {
    Limits {
        instances: 16,
        instance_memory_bytes: 16 << 20,
        deadline_ms: 100,
        compute_ms: 100,
        handles: 5,
        host_calls: 2000,
        max_message_bytes: 4096,
        outbox_bytes: 8192,
        rooms_per_socket: 4,
        rooms_per_namespace: 6,
        bulk_operations: 5,
        store_bytes: 256 << 10,
        store_value_bytes: 4096,
        ..Limits::default()
    }
}

fn quotas() -> Quotas {
    Quotas {
        instances: Some(8),
        memory_bytes: Some(64 << 20),
        rooms: Some(8),
        queued_bytes: Some(32 << 10),
        ..Quotas::default()
    }
}

/// What all inputs of a target have in common.
pub struct World {
    pub runtime: Runtime,
    shared: Arc<Shared>,
    pub ulak: Arc<Ulak>,
    name: &'static str,
    guest: Content,
    pub limits: Limits,
    /// As long as somebody has loaded the guest, nobody compiles it again.
    _keeps_the_code: Loaded,
}

impl World {
    /// A host with this guest, which treats its sockets so.
    pub fn with(name: &'static str, sockets: Sockets) -> Self {
        let memory = Path::new("/dev/shm");
        // In memory where there is some: what is kept is to be forgotten, and each change would wait for the disk.
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.expect("a folder can be made");
        let given = Given {
            config: [("greeting".to_owned(), ConfigValue::Text("hello".into()))].into(),
            ..Given::default()
        };
        let config = Config {
            cache: folder.path().join("cache"),
            store: folder.path().join("store"),
            limits: limits(),
            quotas: quotas(),
            sockets,
            plugin: [("acme/driven".to_owned(), given)].into(),
            ..Config::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name(THREAD)
            .build()
            .expect("the runtime starts");
        let ulak = Arc::new(Ulak::new(Arc::new(Local), false));
        let shared = {
            let _inside = runtime.enter();
            Shared::new(
                &config,
                Surroundings {
                    compiler: Compiler::in_process(),
                    ..Surroundings::of_this_machine(&config.limits)
                },
                ulak.clone(),
            )
        };
        let shared = shared.expect("the sandbox can be set up");
        let file = tulpar_tests::guest_path(name);
        let (guest, keeper) = runtime.block_on(async {
            let guest = Content::read(&file, u64::MAX - 1).await;
            let guest = guest.unwrap_or_else(|refusal| panic!("{} {refusal}", file.display()));
            let keeper = loaded(&shared, "keeper", name, &guest).await;
            drop(loaded(&shared, "acme", name, &guest).await);
            (guest, keeper)
        });
        // The stores are open and need no names any more; so nothing is left behind, however the run ends.
        drop(folder);
        Self {
            runtime,
            shared,
            ulak,
            name,
            guest,
            limits: config.limits,
            _keeps_the_code: keeper,
        }
    }

    /// The guest as a tenant's plugin, for the first time.
    pub async fn load(&self, tenant: &str) -> Loaded {
        loaded(&self.shared, tenant, self.name, &self.guest).await
    }
}

async fn loaded(shared: &Arc<Shared>, tenant: &str, name: &str, guest: &Content) -> Loaded {
    let id = PluginId {
        tenant: Some(tenant.to_owned()),
        name: name.to_owned(),
    };
    let loaded = load(shared, id, None, 1, guest).await;
    loaded.unwrap_or_else(|refusal| panic!("the guest {refusal}"))
}
