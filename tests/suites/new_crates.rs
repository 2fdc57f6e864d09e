//! What `tulpar new` makes, `tulpar build` builds, and a server serves it; the README's first plugin among it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tulpar_tests::{
    Request, Server, ask, connect, json, lock_crate, outcome, succeed, tulpar, workspace,
};

const HEADING: &str = "A plugin in two minutes";

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn bytes(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|error| panic!("{} is not there: {error}", file.display()))
}

/// Replaces the first line of a manifest that begins like that.
fn edit(file: &Path, begins: &str, line: &str) {
    let text = fs::read_to_string(file).expect("it can be read");
    let edited = text
        .lines()
        .map(|old| if old.starts_with(begins) { line } else { old });
    let edited: Vec<_> = edited.collect();
    fs::write(file, edited.join("\n")).expect("it can be written");
}

/// The first block of Rust under the README's heading.
fn listing() -> String {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md can be read");
    let (_, section) = readme
        .split_once(HEADING)
        .unwrap_or_else(|| panic!("README.md has no heading `{HEADING}`"));
    let (_, block) = section
        .split_once("```rust\n")
        .expect("the section has a block of Rust");
    let (code, _) = block.split_once("```").expect("the block ends");
    code.to_owned()
}

#[tokio::test]
async fn the_readmes_plugin_is_what_new_makes_and_build_builds() {
    let folder = scratch();
    let said = succeed(folder.path(), &["new", "hello"]);
    assert!(said.contains("made hello/"), "{said}");
    let hello = folder.path().join("hello");
    let source = fs::read_to_string(hello.join("src/lib.rs")).expect("there is a source");
    // The listing leaves out what the file is for.
    assert!(source.ends_with(&listing()), "{source}");
    lock_crate(&hello);

    let said = succeed(&hello, &["build", "--", "--offline"]);
    assert!(
        said.contains("fits plugins/hello.wasm: namespace /hello"),
        "{said}"
    );
    let file = hello.join("plugins/hello.wasm");
    let server = Server::with(&[]).file("hello.wasm", &bytes(&file)).start();
    let mut client = connect(server.url("/hello")).await;
    assert_eq!(
        client.recv_json().await,
        json!({ "type": "welcome", "number": 1 })
    );
    client.send("hi").await;
    assert_eq!(client.recv_text().await, "You said: hi");

    // From the folder above, and into another one. What is the same is not written again.
    let elsewhere = folder.path().join("elsewhere");
    let into = elsewhere.display().to_string();
    let build = ["build", "hello", "--plugins", &into, "--", "--offline"];
    let said = succeed(folder.path(), &build);
    assert!(said.contains("new "), "{said}");
    assert_eq!(bytes(&elsewhere.join("hello.wasm")), bytes(&file));
    let said = succeed(folder.path(), &build);
    assert!(said.contains("as before"), "{said}");
    with_cargo_component(&hello);
}

/// The same source builds with cargo-component, where that is installed.
fn with_cargo_component(folder: &Path) {
    let installed = Command::new("cargo")
        .args(["component", "--version"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("cargo-component is not installed, so that building with it is NOT tested");
        return;
    }
    let target = workspace().join("target/cargo-component");
    let built = Command::new("cargo")
        .args(["component", "build", "--release", "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .status();
    assert!(built.is_ok_and(|status| status.success()));
    let file = target.join("wasm32-wasip1/release/hello.wasm");
    let said = succeed(folder, &["check", &file.display().to_string()]);
    assert!(said.contains("namespace /hello"), "{said}");
}

#[tokio::test]
async fn a_crate_of_each_kind_builds_in_a_workspace_and_is_served() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    fs::write(
        path("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
    )
    .expect("the manifest can be written");
    for (name, kind) in [
        ("greeter", "namespace"),
        ("door-keeper", "middleware"),
        ("minutes", "service"),
        ("notes", "controller"),
        // Its type cannot be called so, for there is another `Message`.
        ("message", "namespace"),
    ] {
        let name = format!("crates/{name}");
        succeed(folder.path(), &["new", &name, "--kind", kind]);
    }
    lock_crate(folder.path());
    let greeter = path("crates/greeter/src/lib.rs");
    edit(
        &greeter,
        "#[tulpar::namespace",
        "#[tulpar::namespace(path = \"/greeter\", middlewares = [\"door-keeper\"])]",
    );
    let said = succeed(folder.path(), &["build", "--", "--offline"]);
    let mut server = Server::with(&[]);
    for name in ["greeter", "door_keeper", "minutes", "notes", "message"] {
        assert!(
            said.contains(&format!("fits plugins/{name}.wasm")),
            "{said}"
        );
        let file = format!("{name}.wasm");
        let built = bytes(&path("plugins").join(&file));
        server = server.file(&file, &built);
    }
    let server = server.start();
    assert_eq!(server.stdout.with("refused"), [""; 0]);
    server.log_line(&["minutes starts"]);
    let mut client = connect(server.url("/greeter?token=open-sesame")).await;
    assert_eq!(client.recv_json().await["type"], "welcome");
    let put = Request::new("PUT", "/notes/milk").body(r#"{"text":"two litres"}"#);
    assert_eq!(put.send(server.address()).await.status, 204);
    let read = ask(&server, "/notes/milk").await;
    assert_eq!(read.text(), r#"{"text":"two litres"}"#);

    // In the folder of one of them it is that one.
    let said = succeed(&path("crates/notes"), &["build", "--", "--offline"]);
    assert_eq!(said.matches("fits").count(), 1, "{said}");
    assert!(path("crates/notes/plugins/notes.wasm").is_file());
}

#[test]
fn below_a_workspace_that_does_not_list_it_a_crate_is_one_of_its_own() {
    let folder = scratch();
    let manifest = folder.path().join("Cargo.toml");
    fs::write(&manifest, "[workspace]\nmembers = []\n").expect("the manifest can be written");
    succeed(folder.path(), &["new", "stranger"]);
    let own = fs::read_to_string(folder.path().join("stranger/Cargo.toml"));
    assert!(own.expect("it is there").contains("\n[workspace]\n"));
    let metadata = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(folder.path().join("stranger"))
        .output();
    assert!(metadata.expect("cargo runs").status.success());
}

#[test]
fn new_says_why_not_and_touches_nothing() {
    let folder = scratch();
    fs::create_dir(folder.path().join("there")).expect("the folder can be made");
    let checkout = workspace().display().to_string();
    let checkout = checkout.as_str();
    for (args, part) in [
        (&["new", "there"][..], "there is there already"),
        (&["new", "Hello"], "lower-case letter"),
        (&["new", "fn"], "means something to Rust"),
        (&["new", "tulpar_test"], "means something to Rust"),
        (&["new", "a b"], "' ' is none of a-z"),
        (
            &["new", "a", "--sdk", "nowhere"],
            "no crate `tulpar` in nowhere: --sdk wants a checkout's folder guest-sdk\n",
        ),
        (
            &["new", "a", "--sdk", checkout],
            &format!("wants a checkout's folder guest-sdk, which is {checkout}/guest-sdk"),
        ),
    ] {
        let outcome = outcome(folder.path(), args);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(part), "{outcome:?}");
    }
    let outcome = outcome(folder.path(), &["new", "a", "--kind", "thing"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is there").collect();
    assert_eq!(left.len(), 1);
    let left = fs::read_dir(folder.path().join("there"));
    assert_eq!(left.expect("it is there").count(), 0);
}

/// A crate without dependencies.
fn bare(folder: &Path, lib: &str) -> PathBuf {
    let manifest = format!(
        "[package]\nname = \"bare-crate\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\n{lib}\n[workspace]\n"
    );
    fs::create_dir_all(folder.join("src")).expect("the folder can be made");
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::write(folder.join("src/lib.rs"), "").expect("the source can be written");
    folder.to_owned()
}

#[test]
fn build_says_why_not() {
    let folder = scratch();
    let nothing = outcome(folder.path(), &["build"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("`tulpar new NAME`"), "{nothing:?}");
    let nowhere = outcome(folder.path(), &["build", "nowhere"]);
    assert!(nowhere.stderr.contains("no folder nowhere"), "{nowhere:?}");

    let library = bare(&folder.path().join("library"), "");
    let refused = outcome(&library, &["build"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("`bare-crate` is no plugin"),
        "{refused:?}"
    );

    // It builds, but no server would serve it.
    let hollow = bare(&folder.path().join("hollow"), "crate-type = [\"cdylib\"]");
    let refused = outcome(&hollow, &["build"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("exports no handler"), "{refused:?}");
    assert!(!hollow.join("plugins").exists());

    // What does not compile is Cargo's to tell.
    fs::write(hollow.join("src/lib.rs"), "nonsense").expect("the source can be written");
    let broken = outcome(&hollow, &["build"]);
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.stderr.contains("could not compile"), "{broken:?}");

    let no_cargo = tulpar(&hollow, &["build"]).env("PATH", "/nowhere").output();
    let no_cargo = no_cargo.expect("the binary runs");
    let said = String::from_utf8_lossy(&no_cargo.stderr).into_owned();
    assert!(said.contains("https://rustup.rs"), "{said}");
}

#[test]
fn a_toolchain_that_a_folder_above_pins_is_the_crates_too() {
    let folder = scratch();
    let toolchain = |of: &str| folder.path().join(of).join("rust-toolchain.toml");
    succeed(folder.path(), &["new", "free"]);
    assert!(toolchain("free").is_file());
    fs::write(toolchain(""), "[toolchain]\nchannel = \"stable\"\n").expect("it can be written");
    succeed(folder.path(), &["new", "plugins/pinned"]);
    assert!(!toolchain("plugins/pinned").exists());
}
