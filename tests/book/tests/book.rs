//! The documentation beside the tree.

use std::fs;

use tulpar_book::{links, pages, reference, workspace};

/// Set to write the reference instead of comparing it: `make wit-docs`.
const RENEW: &str = "TULPAR_RENEW_WIT_DOCS";

#[test]
fn every_link_leads_somewhere() {
    let pages = pages(&workspace()).expect("the repository can be read");
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    let broken: Vec<_> = pages.iter().flat_map(|page| links::broken(page)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_chapter_is_in_the_summary() {
    let docs = workspace().join("docs");
    let summary = docs.join("SUMMARY.md");
    let listed = links::targets(&summary);
    for chapter in pages(&docs).expect("the folder can be read") {
        assert!(
            chapter == summary || listed.contains(&chapter),
            "{} is not in docs/SUMMARY.md",
            chapter.display()
        );
    }
}

#[test]
fn the_reference_says_what_the_contract_says() {
    let path = workspace().join("docs/wit.md");
    let expected = reference::write(&workspace().join("wit"));
    if std::env::var_os(RENEW).is_some() {
        fs::write(&path, expected).expect("docs/wit.md can be written");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let same = found
        .lines()
        .zip(expected.lines())
        .take_while(|(a, b)| a == b);
    let line = same.count() + 1;
    assert!(
        found == expected,
        "docs/wit.md is not what wit/ makes it, from line {line} on; renew it by `make wit-docs`"
    );
}
