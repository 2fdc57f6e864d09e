//! Files that are dropped into the plugins folder while the server runs.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use tulpar_tests::{Mould, Server, connect, guest, json};

use crate::arena::{Arena, Settled};
use crate::attacks::compile;
use crate::component;
use crate::row::Row;

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
        compiled_row(),
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
    is_refused_with(arena, name, bytes, bytes.len(), word).await
}

/// The same with zeros behind it up to that length, which are a hole in the file: that the attacker writes them is no work
/// of the server's, and is not to be measured.
async fn is_refused_with(
    arena: &Arena,
    name: &str,
    bytes: &[u8],
    length: usize,
    word: &str,
) -> String {
    let mut times = 0;
    loop {
        let file = format!("evil1/{name}-{times}.wasm");
        arena.server.drop_in_with_hole(&file, bytes, length as u64);
        let begun = Instant::now();
        let refusal = match arena.settled(&file).await {
            Settled::Refused(why) => why,
            Settled::Served(path) => panic!("{file} is served at {path}"),
        };
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
    if let Settled::Served(path) = arena.settled("claim.wasm").await {
        panic!("the neighbour's path is taken from it: {path}");
    }

    // A section for those who read it at rest, which says that it is the neighbour.
    let lie = json!({ "kind": "namespace", "path": "/../good/echo", "name": "Neighbour" });
    let torn = component::with_section(
        Mould::namespace("/torn").bytes(),
        "tulpar:plugin",
        format!("{lie}\n").as_bytes(),
    );
    let torn = expect_own(arena, "torn", &torn).await;

    let mut served = Vec::new();
    let mut refused = 0;
    for (index, path) in PATHS.into_iter().enumerate() {
        let liar = Mould::namespace(path).bytes();
        match expect_own(arena, &format!("liar-{index}"), &liar).await {
            Some(path) => served.push(path),
            None => refused += 1,
        }
    }
    // The neighbour's guest is still its own: it tells a socket its id, and the moulded one would echo.
    let mut client = connect(arena.server.url("/good/echo")).await;
    client.send("id").await;
    assert_ne!(
        client.recv_text().await,
        "id",
        "another serves the neighbour's path"
    );
    let torn = torn.unwrap_or_else(|| "refused".to_owned());
    let served = served.join(" ");
    format!(
        "{refused} refused, the rest below its own tenant: {served}; the section that lies: {torn}"
    )
}

/// What a liar says its path is.
const PATHS: [&str; 13] = [
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
];

/// The path that a plugin of the attacker's is served at, which is below its tenant; none when it is refused.
async fn expect_own(arena: &Arena, name: &str, bytes: &[u8]) -> Option<String> {
    let file = format!("evil1/{name}.wasm");
    arena.server.drop_in(&file, bytes);
    let Settled::Served(path) = arena.settled(&file).await else {
        return None;
    };
    let is_own = path == "/evil1" || path.starts_with("/evil1/");
    assert!(is_own, "{file} is served at {path}");
    Some(path)
}

/// One byte over the bound, and otherwise a good plugin.
async fn is_oversize(arena: &Arena) -> String {
    let bytes = Mould::namespace("/oversize").bytes();
    let missing = MAX_PLUGIN + 1 - bytes.len();
    // Names and lengths of the section take a few bytes themselves.
    let padded = component::with_section(bytes, "padding", &vec![0; missing]);
    assert!(padded.len() > MAX_PLUGIN, "it is over the bound");
    let written = &padded[..padded.len() - missing];
    is_refused_with(arena, "oversize", written, padded.len(), "33554432").await
}

/// Compiled code, even the host's own, which another server has made before anything is measured.
fn compiled_row() -> Row {
    let kept = Rc::new(OnceCell::new());
    let made = Rc::clone(&kept);
    let arm = move |builder| {
        made.get_or_init(|| {
            let cache = tempfile::tempdir().expect("a temporary folder");
            drop(Server::with(&["neighbour"]).cache(cache.path()).start());
            largest_below(cache.path()).expect("the cache holds the code")
        });
        builder
    };
    Row::new("compiled-code", arm, move |arena| {
        Box::pin(is_compiled(arena, kept.get().cloned().unwrap_or_default()))
    })
}

/// As the cache keeps it, and without what it keeps before it.
async fn is_compiled(arena: &Arena, kept: Vec<u8>) -> String {
    let elf = kept.windows(4).position(|four| four == b"\x7fELF");
    let elf = elf.expect("it is an object file");
    // By the name that people give such files it is no plugin at all.
    arena
        .server
        .drop_in("evil1/precompiled.cwasm", &kept[elf..]);
    let elf = is_refused(arena, "elf", &kept[elf..], "compiled").await;
    let kept = is_refused(arena, "kept", &kept, "").await;
    format!("{elf}; as the cache keeps it: {kept}")
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
        refused += usize::from(matches!(arena.settled(&file).await, Settled::Refused(_)));
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
        refused += usize::from(matches!(arena.settled(file).await, Settled::Refused(_)));
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
