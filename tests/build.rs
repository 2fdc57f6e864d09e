//! Builds the example plugins and the test guests, so that the suites load what their sources say.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let tests = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = tests.parent().expect("tests/ lies in the workspace");
    let plugins = plugin_crates(workspace);

    for path in [
        "wit",
        "guest-sdk",
        "Cargo.toml",
        "Cargo.lock",
        "tests/guests",
        "tests/hostile/guests",
        "tests/build.rs",
    ] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    for (folder, _) in &plugins {
        println!("cargo:rerun-if-changed={}", folder.join("src").display());
        println!(
            "cargo:rerun-if-changed={}",
            folder.join("Cargo.toml").display()
        );
    }

    require_target();
    let target_dir = workspace.join("target/guests");
    let mut build = cargo();
    build.current_dir(workspace).args([
        "build",
        "--release",
        "--locked",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    build.arg(&target_dir);
    for (_, package) in &plugins {
        build.args(["-p", package]);
    }
    run(&mut build, "the example plugins");

    let mut build = cargo();
    build.current_dir(workspace).args([
        "build",
        "--release",
        "--locked",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    build.arg(&target_dir).args([
        "-p",
        "tulpar-test-guests",
        "-p",
        "tulpar-hostile-guests",
        "--examples",
    ]);
    run(&mut build, "the test guests");

    let built = target_dir.join(TARGET).join("release");
    println!("cargo:rustc-env=TULPAR_TESTS_PLUGINS={}", built.display());
    println!(
        "cargo:rustc-env=TULPAR_TESTS_GUESTS={}",
        built.join("examples").display()
    );
    println!(
        "cargo:rustc-env=TULPAR_TESTS_WORKSPACE={}",
        workspace.display()
    );
}

/// The crates of the workspace below plugins/, each with its package's name.
fn plugin_crates(workspace: &Path) -> Vec<(PathBuf, String)> {
    let members = fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    let entries = fs::read_dir(workspace.join("plugins"));
    let mut crates: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| members.contains(&format!("\"plugins/{}\"", entry.file_name().display())))
        .filter_map(|entry| {
            let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).ok()?;
            Some((entry.path(), package_name(&manifest)?))
        })
        .collect();
    crates.sort();
    crates
}

/// The `name` of the `[package]` table, which is the first key of that name in every manifest here.
fn package_name(manifest: &str) -> Option<String> {
    let value = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name"))?;
    Some(
        value
            .trim_start()
            .strip_prefix('=')?
            .trim()
            .trim_matches('"')
            .to_owned(),
    )
}

/// A cargo that knows nothing of the build that started this script: what that one is told about flags,
/// wrappers, profiles and targets is meant for the host, and would break or needlessly rebuild the guests.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    for (key, _) in env::vars_os() {
        if is_of_the_outer_build(&key) {
            cargo.env_remove(key);
        }
    }
    cargo
}

fn is_of_the_outer_build(key: &OsStr) -> bool {
    const KEPT: [&str; 5] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    const OTHERS: [&str; 12] = [
        "RUSTFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOC",
        "TARGET",
        "HOST",
        "PROFILE",
        "OUT_DIR",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    let Some(key) = key.to_str() else {
        return false;
    };
    let cargo_own = key.starts_with("CARGO_") && !KEPT.iter().any(|kept| key.starts_with(kept));
    cargo_own || OTHERS.contains(&key)
}

fn require_target() {
    let printed = Command::new(env::var_os("RUSTC").expect("cargo sets it"))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .expect("rustc runs");
    let folder = String::from_utf8_lossy(&printed.stdout);
    assert!(
        Path::new(folder.trim()).is_dir(),
        "the Rust target {TARGET} is not installed; install it with `rustup target add {TARGET}`"
    );
}

fn run(command: &mut Command, what: &str) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    assert!(
        status.success(),
        "{what} did not build ({status}): {command:?}"
    );
}
