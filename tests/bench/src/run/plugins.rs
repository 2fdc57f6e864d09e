//! The folders of plugins that Tulpar serves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::scenarios::{Plugins, tenant};

/// In how many tenants' folders the echo plugin is laid out.
const TENANTS: usize = 100;

/// Where plugins are laid out.
pub fn folder(plugins: Plugins) -> &'static str {
    match plugins {
        Plugins::All => "plugins",
        Plugins::Tenants => "tenants",
        Plugins::Strangers => "strangers",
    }
}

/// Lays out all folders of plugins.
///
/// # Errors
/// A plugin has not been built, or a file cannot be written.
pub fn lay_out(plugins: &Path, guests: &Path, work: &Path) -> Result<()> {
    let read = |from: &Path, name: &str| {
        let file = from.join(name);
        fs::read(&file)
            .with_context(|| format!("{} is not there: run `make bench`", file.display()))
    };
    let write = |folder: PathBuf, name: &str, bytes: &[u8]| {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
            .with_context(|| format!("cannot write {}", folder.join(name).display()))
    };
    for (from, name) in [
        (plugins, "echo.wasm"),
        (plugins, "room.wasm"),
        (guests, "rooms.wasm"),
    ] {
        write(work.join(folder(Plugins::All)), name, &read(from, name)?)?;
    }
    let echo = read(plugins, "echo.wasm")?;
    for tenant in (0..TENANTS).map(tenant) {
        let folder = |plugins| work.join(folder(plugins)).join(&tenant);
        write(folder(Plugins::Tenants), "echo.wasm", &echo)?;
        // A custom section with the tenant's name makes it another file. Its length and the name's fit into one byte.
        let mut own = echo.clone();
        own.extend([0, 1 + tenant.len() as u8, tenant.len() as u8]);
        own.extend(tenant.as_bytes());
        write(folder(Plugins::Strangers), "echo.wasm", &own)?;
    }
    Ok(())
}
