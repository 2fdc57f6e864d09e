//! The one Wasmtime engine of the process and what its guests can import.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{ResourceTable, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::bindings;
use super::host::{HostState, link_error_code};
use super::sandbox::deadline::TICK;
use super::sandbox::{limiter, slices};
use crate::config::Limits;
use crate::quota::Tenants;

/// Makes the engine and starts its clock, a thread that ends when the engine is gone. It also sees to it that the tenants
/// take turns, and that somebody looks at the network while a guest has a thread for long. To be called on the threads
/// that serve.
///
/// # Errors
/// The address space for `limits.instances` instances cannot be reserved.
pub fn new(limits: &Limits, tenants: Arc<Tenants>) -> Result<Engine> {
    let engine = pooling(limits, limits.instances).map_err(anyhow::Error::from);
    let engine = engine.context(
        "cannot set up the sandbox; each instance reserves 4 GiB of address space, so that a smaller \
         `limits.instances` may help",
    )?;
    let clock = engine.weak();
    let threads = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while let Some(engine) = clock.upgrade() {
                engine.increment_epoch();
                drop(engine);
                let now = Instant::now();
                tenants.balance(now);
                if slices::is_one_long(now) {
                    // Nothing to do, but for a thread that sleeps to look whether there is.
                    drop(threads.spawn(async {}));
                }
                std::thread::sleep(TICK);
            }
        })
        .context("cannot start the thread that counts the guests' time")?;
    Ok(engine)
}

/// An engine that takes and refuses the same code as the one above, and has room to run none.
///
/// # Errors
/// The address space for one instance cannot be reserved.
pub fn for_checking(limits: &Limits) -> wasmtime::Result<Engine> {
    pooling(limits, 1)
}

/// An engine with room for so many instances.
fn pooling(limits: &Limits, instances: u32) -> wasmtime::Result<Engine> {
    // As much of everything as all instances together may have, so that none finds another's part used up.
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(limiter::CORE_INSTANCES))
        .total_memories(instances.saturating_mul(limiter::MEMORIES))
        .total_tables(instances.saturating_mul(limiter::TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(limiter::CORE_INSTANCES)
        .max_memories_per_component(limiter::MEMORIES)
        .max_tables_per_component(limiter::TABLES)
        .max_memory_size(limits.instance_memory_bytes)
        .table_elements(limiter::TABLE_ELEMENTS);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// An engine that makes the same code as the ones above, and runs none.
///
/// # Errors
/// There is no compiler for this machine.
pub fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// What compiled code depends on.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Guests are called one at a time; without the machinery for concurrent calls a call costs a third.
        .concurrency_support(false);
    config
}

/// Everything a plugin can import: the contract's interfaces, and of WASI what a standard library needs to start, to
/// tell the time, to draw random numbers and to print, HTTP requests to the hosts that are granted to it, its
/// configuration and its tenant's key-value store. There are no directories and no variables behind it, and no other
/// network: a component that imports `wasi:sockets` does not load.
///
/// # Errors
/// Two interfaces of the same name, which is a defect of the host.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    let own: fn(&mut HostState) -> &mut HostState = |state| state;
    bindings::tulpar::plugin::sockets::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::rooms::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::ulak::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::cluster::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::http::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::log::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::tulpar::plugin::types::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::wasi::config::store::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::wasi::keyvalue::store::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::wasi::keyvalue::atomics::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    bindings::wasi::keyvalue::batch::add_to_linker::<_, HasSelf<HostState>>(l, own)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    link_error_code(l)?;

    let table: fn(&mut HostState) -> &mut ResourceTable = |state| state.ctx().table;
    io::error::add_to_linker::<_, HasSelf<ResourceTable>>(l, table)?;
    io::poll::add_to_linker::<_, HasSelf<ResourceTable>>(l, table)?;
    io::streams::add_to_linker::<_, HasSelf<ResourceTable>>(l, table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, WasiClocksView::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, WasiClocksView::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, |state| state.ctx().ctx.random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |state| state.ctx().ctx.random())?;
    cli::environment::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(l, WasiFilesystemView::filesystem)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, WasiFilesystemView::filesystem)?;
    Ok(linker)
}
