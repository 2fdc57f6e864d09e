//! Files that are refused, while everything else keeps running: rule P5.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tulpar_tests::{Mould, Server, connect, expect_echo, expect_not_served, guest, json};

/// The component that a text in WAT stands for.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is WAT")
}

#[tokio::test]
async fn p5_what_is_no_plugin_is_refused_with_a_reason_and_all_else_keeps_running() {
    let commander = guest("commander");
    let (half, _) = commander.split_at(commander.len() / 2);
    let module = component(r#"(module (func (export "on-open")))"#);
    let no_exports = component("(component)");
    let other_world =
        component(r#"(component (instance $i) (export "acme:other/handler@0.1.0" (instance $i)))"#);
    let hollow = component(
        r#"(component (instance $i) (export "tulpar:plugin/namespace-handler@0.1.0" (instance $i)))"#,
    );
    let from_the_future = component(
        r#"(component (instance $i) (export "tulpar:plugin/namespace-handler@0.2.0" (instance $i)))"#,
    );
    let greedy = guest("greedy");
    let caller = guest("caller");
    let elf = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 4096]].concat();
    let files = [
        ("text.wasm", &b"not a component at all"[..], "WebAssembly"),
        ("empty.wasm", b"", "empty"),
        ("magic.wasm", b"\0asm", "is not complete"),
        ("core.wasm", b"\0asm\x01\0\0\0", "component"),
        ("module.wasm", &module, "component"),
        ("compiled.wasm", &elf, "compiled"),
        ("truncated.wasm", half, "is not complete"),
        ("bare.wasm", &no_exports, "export"),
        ("other.wasm", &other_world, "export"),
        ("hollow.wasm", &hollow, "namespace-handler"),
        ("future.wasm", &from_the_future, "export"),
        ("greedy.wasm", &greedy, "tulpar:test-guests/disk"),
        ("caller.wasm", &caller, "wasi:sockets"),
    ];
    let mut server = Server::with(&["commander"]);
    for (file, bytes, _) in files {
        server = server.file(file, bytes);
        server = server.file(&format!("acme/{file}"), bytes);
    }
    let server = server.tenant("acme", &["commander"]).start();
    for (file, _, word) in files {
        for file in [file.to_owned(), format!("acme/{file}")] {
            let refusal = server.refusal(&file);
            assert!(refusal.contains(word), "`{word}` is not in `{refusal}`");
        }
    }
    assert_eq!(
        server.stdout.with("refused ").len(),
        2 * files.len(),
        "one line each"
    );
    expect_echo(&server, "/commander").await;
    expect_echo(&server, "/acme/commander").await;
    expect_not_served(&server, "/greedy").await;
}

#[tokio::test]
async fn p5_a_damaged_component_harms_nobody() {
    let whole = guest("chat");
    let mut server = Server::with(&["commander"]);
    // A byte turned over here and there: in the types, the code, the data. What is behind them is for debuggers.
    for index in 0..32 {
        let mut damaged = whole.clone();
        let at = 8 + index * (whole.len().min(80_000) - 8) / 32;
        damaged[at] ^= 0xff;
        server = server.file(&format!("damaged-{index}.wasm"), &damaged);
    }
    let server = server.start();
    assert!(
        server.stdout.with("refused damaged-").len() >= 16,
        "most of them are no components any more"
    );
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn p5_compiled_code_is_refused_even_the_hosts_own() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    drop(Server::with(&["commander"]).cache(cache.path()).start());
    let compiled = files_below(cache.path())
        .into_iter()
        .max_by_key(Vec::len)
        .expect("the cache holds the code");
    let server = Server::with(&["chat"])
        .file("compiled.wasm", &compiled)
        .start();
    server.refusal("compiled.wasm");
    expect_not_served(&server, "/commander").await;
    assert_eq!(
        connect(server.url("/chat")).await.recv_text().await,
        "Welcome to chat!"
    );
}

#[tokio::test]
async fn p5_a_plugin_has_as_many_bytes_as_allowed() {
    let bytes = guest("commander");
    for (allowed, served) in [(bytes.len(), true), (bytes.len() - 1, false)] {
        let config = format!("[limits]\nmax-plugin-bytes = {allowed}");
        let server = Server::with(&["commander"]).config(&config).start();
        if served {
            expect_echo(&server, "/commander").await;
        } else {
            let refusal = server.refusal("commander.wasm");
            assert!(
                refusal.contains(&allowed.to_string()),
                "the bound is not in `{refusal}`"
            );
            expect_not_served(&server, "/commander").await;
        }
    }
}

#[tokio::test]
async fn p5_what_cannot_be_read_is_refused() {
    let server = Server::with(&["commander"]);
    fs::create_dir(server.plugins_folder().join("folder.wasm")).expect("the folder can be made");
    symlink(
        "/nowhere/at/all",
        server.plugins_folder().join("dangling.wasm"),
    )
    .expect("the link can be made");
    let server = server.start();
    server.refusal("dangling.wasm");
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn p5_a_plugin_that_cannot_describe_itself_is_refused() {
    let server = Server::with(&["commander"])
        .file(
            "loops.wasm",
            &Mould::namespace("/loops")
                .set("instead", json!("loop"))
                .bytes(),
        )
        .file(
            "panics.wasm",
            &Mould::namespace("/panics")
                .set("instead", json!("panic"))
                .bytes(),
        )
        .file(
            "gate-loops.wasm",
            &Mould::middleware("loops")
                .set("instead", json!("loop"))
                .bytes(),
        )
        .file(
            "gate-panics.wasm",
            &Mould::middleware("panics")
                .set("instead", json!("panic"))
                .bytes(),
        )
        .config("[limits]\ndeadline-ms = 300")
        .start();
    for file in [
        "loops.wasm",
        "panics.wasm",
        "gate-loops.wasm",
        "gate-panics.wasm",
    ] {
        let refusal = server.refusal(file);
        assert!(refusal.contains("describe"), "{refusal}");
    }
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn p5_a_descriptor_against_the_rules_is_refused() {
    let longest_path = format!("/{}", "p".repeat(255));
    let too_long_path = format!("/{}", "p".repeat(256));
    let longest_name = "n".repeat(128);
    let too_long_name = "n".repeat(129);
    let names = |count: usize| json!(vec!["gate"; count]);
    let good = [
        ("/", "name", json!("x")),
        ("/a.b/~c", "name", json!(longest_name)),
        (&longest_path, "name", json!("x")),
    ];
    let bad = [
        ("", "name", json!("x")),
        ("chat", "name", json!("x")),
        ("//", "name", json!("x")),
        ("/a/", "name", json!("x")),
        ("/a//b", "name", json!("x")),
        ("/a/../b", "name", json!("x")),
        ("/./a", "name", json!("x")),
        ("/a?b", "name", json!("x")),
        ("/a#b", "name", json!("x")),
        ("/a b", "name", json!("x")),
        ("/a\nb", "name", json!("x")),
        ("/a\u{7f}", "name", json!("x")),
        (&too_long_path, "name", json!("x")),
        ("/unnamed", "name", json!("")),
        ("/long-name", "name", json!(too_long_name)),
        ("/many", "middlewares", names(33)),
    ];
    let mut server = Server::with(&[]);
    for (index, (path, key, value)) in good.iter().chain(&bad).enumerate() {
        let plugin = Mould::namespace(path).set(key, value.clone());
        server = server.file(&format!("{index}.wasm"), &plugin.bytes());
    }
    server = server.file("gate.wasm", &Mould::middleware("gate").bytes());
    let most = Mould::namespace("/most").set("middlewares", names(32));
    let server = server
        .file("most.wasm", &most.bytes())
        .file("gate-unnamed.wasm", &Mould::middleware("").bytes())
        .file(
            "gate-long-name.wasm",
            &Mould::middleware(&too_long_name).bytes(),
        )
        .start();
    for (path, _, _) in &good {
        expect_echo(&server, path).await;
    }
    expect_echo(&server, "/most").await;
    for index in good.len()..good.len() + bad.len() {
        server.refusal(&format!("{index}.wasm"));
    }
    server.refusal("gate-unnamed.wasm");
    server.refusal("gate-long-name.wasm");
    assert_eq!(
        server.stdout.with("refused ").len(),
        bad.len() + 2,
        "nothing else is refused"
    );
}

fn files_below(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder)
        .expect("the folder can be read")
        .flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![fs::read(path).expect("the file can be read")]
            }
        })
        .collect()
}
