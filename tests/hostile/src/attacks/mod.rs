//! The attacks, by what they go after.

mod compile;
mod compute;
mod files;
mod floods;
mod http;
mod memory;
mod names;
mod rooms;
mod traps;

use tulpar_tests::Builder;

use crate::arena::TENANTS;
use crate::row::Row;

/// All rows, in the order of the table.
pub fn rows() -> Vec<Row> {
    [
        compute::rows(),
        memory::rows(),
        traps::rows(),
        http::rows(),
        rooms::rows(),
        floods::rows(),
        names::rows(),
        files::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Gives a guest to each of the attacker's tenants.
fn armed_with(guest: &'static str) -> impl Fn(Builder) -> Builder {
    move |builder| {
        TENANTS
            .iter()
            .fold(builder, |builder, tenant| builder.tenant(tenant, &[guest]))
    }
}

/// Gives a component to each of the attacker's tenants, under this name.
fn armed_with_bytes(name: &'static str, bytes: Vec<u8>) -> impl Fn(Builder) -> Builder {
    move |builder| {
        TENANTS.iter().fold(builder, |builder, tenant| {
            builder.file(&format!("{tenant}/{name}.wasm"), &bytes)
        })
    }
}
