//! Who may import whom: a module uses those below it, never one above.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top. Modules on one line may not import each other.
const LAYERS: &[&[&str]] = &[
    &["clock", "ids", "message", "config", "metrics"],
    &["deflate", "nats", "quota", "telemetry"],
    &["hub", "store"],
    &["backplane", "transport"],
    &["ulak"],
    &["plugin"],
    &["namespace", "middleware", "controller", "service"],
    &["connection"],
    &["net", "admin"],
    &["app"],
    &["cli"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` is not in LAYERS: say which layer it belongs to"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that a source names as `crate::MODULE`.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_')?;
        (end > 0).then_some(&rest[..end])
    })
}

#[test]
fn no_module_imports_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upward = Vec::new();
    let mut checked = 0;
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            checked += 1;
            if import != module && layer(import) >= layer(module) {
                upward.push(format!("{} imports crate::{import}", inside.display()));
            }
        }
    }
    assert!(
        checked > 50,
        "only {checked} imports were found: is the test looking in the right place?"
    );
    assert!(upward.is_empty(), "{upward:#?}");
}
