//! What all inputs have in common: the host with the guest's code, its limits and its store.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tulpar_runtime::backplane::Local;
use tulpar_runtime::config::{Config, ConfigValue, Given, Limits, Quotas};
use tulpar_runtime::ids::PluginId;
use tulpar_runtime::plugin::Shared;
use tulpar_runtime::plugin::compile::Compiler;
use tulpar_runtime::plugin::describe::Loaded;
use tulpar_runtime::plugin::load::{Content, load};
use tulpar_runtime::ulak::Ulak;

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

/// What all inputs have in common.
pub struct World {
    pub runtime: Runtime,
    shared: Arc<Shared>,
    pub ulak: Arc<Ulak>,
    guest: Content,
    pub limits: Limits,
    /// As long as somebody has loaded the guest, nobody compiles it again.
    _keeps_the_code: Loaded,
}

impl World {
    pub fn new() -> Self {
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
            plugin: [("acme/driven".to_owned(), given)].into(),
            ..Config::default()
        };
        let runtime = Runtime::new().expect("the runtime starts");
        let ulak = Arc::new(Ulak::new(Arc::new(Local), false));
        let shared = {
            let _inside = runtime.enter();
            Shared::new(
                &config,
                Compiler::in_process(),
                Arc::new(Local),
                ulak.clone(),
            )
        };
        let shared = shared.expect("the sandbox can be set up");
        let file = tulpar_tests::guest_path("driven");
        let (guest, keeper) = runtime.block_on(async {
            let guest = Content::read(&file, u64::MAX - 1).await;
            let guest = guest.unwrap_or_else(|refusal| panic!("{} {refusal}", file.display()));
            let keeper = loaded(&shared, "keeper", &guest).await;
            drop(loaded(&shared, "acme", &guest).await);
            (guest, keeper)
        });
        // The stores are open and need no names any more; so nothing is left behind, however the run ends.
        drop(folder);
        Self {
            runtime,
            shared,
            ulak,
            guest,
            limits: config.limits,
            _keeps_the_code: keeper,
        }
    }

    /// The guest as a tenant's plugin, for the first time.
    pub async fn load(&self, tenant: &str) -> Loaded {
        loaded(&self.shared, tenant, &self.guest).await
    }
}

async fn loaded(shared: &Arc<Shared>, tenant: &str, guest: &Content) -> Loaded {
    let id = PluginId {
        tenant: Some(tenant.to_owned()),
        name: "driven".to_owned(),
    };
    let loaded = load(shared, id, None, 1, guest).await;
    loaded.unwrap_or_else(|refusal| panic!("the guest {refusal}"))
}
