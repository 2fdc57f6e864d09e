//! Files that are dropped into the plugins folder while the server runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tulpar_tests::{Mould, Server, guest, json};

use crate::arena::{Arena, Fate};
use crate::attacks::compile;
use crate::component;
use crate::row::Row;

/// How long a file may take to be refused or served. A file is looked at when it has kept its size for half a second, and
/// one that takes long to compile is given up some time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The default of `limits.max-plugin-bytes`.
const MAX_PLUGIN: usize = 32 << 20;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        file_row("describe-loops", |arena| {
            Box::pin(cannot_describe(arena, "loop"))
        }),
        file_row("describe-traps", |arena| {
            Box::pin(cannot_describe(arena, "panic"))
        }),
        file_row("describe-lies", |arena| Box::pin(lies(arena))),
        file_row("oversize", |arena| Box::pin(is_oversize(arena))),
        file_row("compiled-code", |arena| Box::pin(is_compiled(arena))),
        file_row("truncated", |arena| Box::pin(is_truncated(arena))),
        file_row("bit-flipped", |arena| Box::pin(is_flipped(arena))),
    ];
    rows.extend(compile::rows());
    rows
}

/// A row whose attacker is not there when the server starts.
pub fn file_row(
    name: &str,
    attack: impl for<'a> Fn(&'a Arena) -> futures_util::future::LocalBoxFuture<'a, String> + 'static,
) -> Row {
    Row::new(name, |builder| builder, attack)
}

/// Drops a file in again and again, each time under another name, until the time is up; it has to be refused with that
/// word each time. The last refusal.
pub async fn is_refused(arena: &Arena, name: &str, bytes: &[u8], word: &str) -> String {
    let mut times = 0;
    loop {
        let file = format!("evil1/{name}-{times}.wasm");
        arena.server.drop_in(&file, bytes);
        let begun = Instant::now();
        let refusal = arena.refusal(&file, "/evil1/nowhere", PATIENCE).await;
        let refusal = refusal.unwrap_or_else(|| panic!("{file} is served"));
        assert!(refusal.contains(word), "`{word}` is not in `{refusal}`");
        times += 1;
        if !arena.is_on() {
            return format!(
                "{times} x {refusal}, the last after {:.1?}",
                begun.elapsed()
            );
        }
    }
}

async fn cannot_describe(arena: &Arena, instead: &str) -> String {
    let bytes = Mould::namespace("/moulded")
        .set("instead", json!(instead))
        .bytes();
    is_refused(arena, "moulded", &bytes, "describe").await
}

/// Whatever it says of itself, it is mounted below its own tenant, or refused.
async fn lies(arena: &Arena) -> String {
    // In the root folder, whose plugins may have any path that is nobody's yet.
    let claim = Mould::namespace("/good/echo").bytes();
    arena.server.drop_in("claim.wasm", &claim);
    let refusal = arena.refusal("claim.wasm", "/nowhere", PATIENCE).await;
    assert!(refusal.is_some(), "the neighbour's path is taken from it");

    // A section for those who read it at rest, which says that it is the neighbour.
    let lie = json!({ "kind": "namespace", "path": "/../good/echo", "name": "Neighbour" });
    let section = format!("{lie}\n");
    let torn = component::with_section(
        Mould::namespace("/torn").bytes(),
        "tulpar:plugin",
        section.as_bytes(),
    );
    arena.server.drop_in("evil1/torn.wasm", &torn);
    let refusal = arena
        .refusal("evil1/torn.wasm", "/evil1/torn", PATIENCE)
        .await;
    let torn = refusal.unwrap_or_else(|| "served as what it describes".to_owned());

    let mut served = 0;
    let mut refused = 0;
    for (index, path) in [
        "/../good/echo",
        "/good/echo",
        "/echo",
        "good/echo",
        "//good/echo",
        "/%2e%2e/good/echo",
        "/..%2fgood/echo",
        "/*",
        "/>",
        "*",
        "/good/echo\0",
        "/",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let file = format!("evil1/liar-{index}.wasm");
        arena.server.drop_in(&file, &Mould::namespace(path).bytes());
        // Where it is served when it is: below its own tenant, and the root of that is the tenant itself.
        let mounted = match path {
            "/" => "/evil1".to_owned(),
            path if path.starts_with('/') && !path.contains(['\0', '>', '*']) => {
                format!("/evil1{path}")
            }
            _ => "/evil1/nowhere".to_owned(),
        };
        match arena.refusal(&file, &mounted, PATIENCE).await {
            Some(_) => refused += 1,
            None => served += 1,
        }
    }
    // The neighbour still has a guest of its own, which passes on what begins with `r`; the moulded one would echo it.
    let fate = arena.strike("/good/echo", "id").await;
    assert_ne!(fate, Fate::Refused(404), "the neighbour is gone");
    format!("{refused} refused, {served} below its own tenant; the section that lies: {torn}")
}

/// One byte over the bound, and otherwise a good plugin.
async fn is_oversize(arena: &Arena) -> String {
    let bytes = Mould::namespace("/oversize").bytes();
    let missing = MAX_PLUGIN + 1 - bytes.len();
    // Names and lengths of the section take a few bytes themselves.
    let padded = component::with_section(bytes, "padding", &vec![0; missing]);
    assert!(padded.len() > MAX_PLUGIN, "it is over the bound");
    is_refused(arena, "oversize", &padded, "33554432").await
}

/// Compiled code, even the host's own: as its cache keeps it, and without what it keeps before it.
async fn is_compiled(arena: &Arena) -> String {
    let cache = tempfile::tempdir().expect("a temporary folder");
    drop(Server::with(&["neighbour"]).cache(cache.path()).start());
    let kept = largest_below(cache.path()).expect("the cache holds the code");
    let elf = kept
        .windows(4)
        .position(|four| four == b"\x7fELF")
        .expect("it is an object file");
    let refused = is_refused(arena, "kept", &kept, "").await;
    is_refused(arena, "elf", &kept[elf..], "compiled").await;
    // By the name that people give such files it is no plugin at all.
    arena
        .server
        .drop_in("evil1/precompiled.cwasm", &kept[elf..]);
    refused
}

async fn is_truncated(arena: &Arena) -> String {
    let whole = guest("neighbour");
    let mut lengths: Vec<_> = (0..16).map(|part| whole.len() * part / 16).collect();
    lengths.extend([1, 4, 7, 8, 9, whole.len() - 1]);
    let mut refused = 0;
    for length in lengths {
        let file = format!("evil1/truncated-{length}.wasm");
        arena.server.drop_in(&file, &whole[..length]);
        // What is missing at the end may be for debuggers alone.
        refused += usize::from(
            arena
                .refusal(&file, "/evil1/echo", PATIENCE)
                .await
                .is_some(),
        );
    }
    assert!(refused >= 16, "only {refused} were refused");
    format!("{refused} refused, none crashed")
}

async fn is_flipped(arena: &Arena) -> String {
    const FLIPS: usize = 24;
    let whole = guest("neighbour");
    let code = whole.len().min(80_000);
    let mut files = Vec::new();
    for index in 0..FLIPS {
        let mut flipped = whole.clone();
        flipped[8 + index * (code - 8) / FLIPS] ^= 1 << (index % 8);
        let file = format!("evil1/flipped-{index}.wasm");
        arena.server.drop_in(&file, &flipped);
        files.push(file);
    }
    let mut refused = 0;
    for file in &files {
        refused += usize::from(arena.refusal(file, "/evil1/echo", PATIENCE).await.is_some());
    }
    format!("{refused} of {FLIPS} refused, none crashed")
}

/// The contents of the largest file.
fn largest_below(folder: &Path) -> Option<Vec<u8>> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let contents = entries.filter_map(|entry| match entry.path() {
        path if path.is_dir() => largest_below(&path),
        path => fs::read(path).ok(),
    });
    contents.max_by_key(Vec::len)
}
