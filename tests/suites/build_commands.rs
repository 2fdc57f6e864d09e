//! The README's first plugin builds with the commands that the README names, and is served.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tulpar_tests::{Server, connect, workspace};

const HEADING: &str = "A plugin in two minutes";

/// The first block of Rust under the heading.
fn listing() -> String {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("README.md can be read");
    let (_, section) = readme
        .split_once(HEADING)
        .unwrap_or_else(|| panic!("README.md has no heading `{HEADING}`"));
    let (_, block) = section
        .split_once("```rust")
        .expect("the section has a block of Rust");
    let (_, block) = block.split_once('\n').expect("the block has lines");
    let (code, _) = block.split_once("```").expect("the block ends");
    code.to_owned()
}

/// The path that the listing serves.
fn path(listing: &str) -> &str {
    let (_, rest) = listing
        .split_once("path = \"")
        .expect("the listing names a path");
    rest.split('"').next().expect("the path ends")
}

/// A crate outside the workspace with the listing in it.
fn plugin(listing: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sdk = workspace().join("guest-sdk");
    let manifest = format!(
        "[package]\nname = \"two-minutes\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\ntulpar = {{ path = {sdk:?} }}\n"
    );
    fs::create_dir(folder.path().join("src")).expect("the folder can be made");
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::write(folder.path().join("src/lib.rs"), listing).expect("the listing can be written");
    // The versions that are here already; nothing is to be downloaded.
    fs::copy(
        workspace().join("Cargo.lock"),
        folder.path().join("Cargo.lock"),
    )
    .expect("the lock file can be copied");
    folder
}

/// Builds the crate and gives the file that came of it.
fn build(folder: &Path, command: &[&str], target: &str) -> PathBuf {
    // One target folder for all runs, so that only the plugin itself is compiled anew.
    let target_dir = workspace().join("target/build-commands");
    let mut cargo = Command::new("cargo");
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let of_the_outer_build = name.starts_with("CARGO_") && name != "CARGO_HOME";
        if of_the_outer_build || name.starts_with("RUSTC") || name == "RUSTFLAGS" {
            cargo.env_remove(&key);
        }
    }
    let output = cargo
        .args(command)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target_dir)
        .output();
    let output = output.expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {command:?} failed:\n{said}");
    target_dir.join(target).join("release/two_minutes.wasm")
}

async fn expect_served(file: &Path, path: &str) {
    let bytes =
        fs::read(file).unwrap_or_else(|error| panic!("{} was not built: {error}", file.display()));
    let server = Server::with(&[]).file("two-minutes.wasm", &bytes).start();
    assert_eq!(server.stdout.with("refused"), [""; 0]);
    let mut client = connect(server.url(path)).await;
    client.send("hello").await;
    assert!(
        client.recv().await.is_some_and(|answer| answer.is_text()),
        "the plugin answers"
    );
}

#[tokio::test]
async fn the_readmes_plugin_builds_with_cargo() {
    let listing = listing();
    let folder = plugin(&listing);
    let file = build(
        folder.path(),
        &["build", "--release", "--target", "wasm32-wasip2"],
        "wasm32-wasip2",
    );
    expect_served(&file, path(&listing)).await;
}

#[tokio::test]
async fn the_readmes_plugin_builds_with_cargo_component() {
    let installed = Command::new("cargo")
        .args(["component", "--version"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("cargo-component is not installed, so that building with it is NOT tested");
        return;
    }
    let listing = listing();
    let folder = plugin(&listing);
    let file = build(
        folder.path(),
        &["component", "build", "--release"],
        "wasm32-wasip1",
    );
    expect_served(&file, path(&listing)).await;
}
