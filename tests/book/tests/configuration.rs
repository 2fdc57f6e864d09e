//! What the docs show as configuration is what the server takes.

use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};
use tulpar_book::{pages, workspace};
use tulpar_runtime::config::Config;

/// Where the secrets of the listings are.
const SECRETS: [&str; 2] = ["USERS_TOKEN", "WEATHER_TOKEN"];

#[test]
fn the_listings_are_taken() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // A listing names a file that is on the reader's machine.
    let pem = folder.path().join("pem");
    fs::write(&pem, "a secret").expect("it can be written");
    let file = folder.path().join("tulpar.toml");

    let mut taken = 0;
    for page in pages(&workspace().join("docs")).expect("the folder can be read") {
        for listing in listings(&page) {
            let listing = listing.replace("/run/secrets/pem", &pem.display().to_string());
            fs::write(&file, &listing).expect("it can be written");
            let secrets = SECRETS.map(|name| (name.to_owned(), "a secret".to_owned()));
            if let Err(error) = Config::load(Some(&file), secrets) {
                panic!("{}: {error}, in\n{listing}", page.display());
            }
            taken += 1;
        }
    }
    assert!(taken > 3, "only {taken} listings were found");
}

#[test]
fn the_file_for_systemd_is_taken() {
    let file = workspace().join("docs/deploy/tulpar.toml");
    Config::load(Some(&file), []).expect("it is a configuration");
}

#[test]
fn the_variables_of_the_image_are_taken() {
    let file = workspace().join("docs/deploy/Dockerfile");
    let text = fs::read_to_string(file).expect("the file is there");
    let words = text.split([' ', '\n', '\\']);
    let variables: Vec<_> = words
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| name.starts_with("TULPAR_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.len() > 3, "only {variables:?} were found");
    Config::load(None, variables).expect("they are settings");
}

#[test]
fn each_limit_is_in_the_table_of_limits() {
    let read = |name| fs::read_to_string(workspace().join(name)).expect("the file is there");
    let (settings, page) = (read("tulpar.toml"), read("docs/operations.md"));
    let mut section = "";
    // Said in the comment before, also for the next one when that has none.
    let mut is_for_plugins = false;
    let mut found = 0;
    for line in settings.lines() {
        if line.is_empty() {
            is_for_plugins = false;
        } else if line.starts_with("# [*]") {
            is_for_plugins = true;
        } else if let Some(name) = line.strip_prefix("#[") {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.strip_prefix('#').and_then(|it| it.split_once(" = "))
            && ["limits", "quotas"].contains(&section)
            && !key.contains(' ')
        {
            let name = format!("`{section}.{key}`");
            let rows = page.lines().filter_map(|line| line.split('|').nth(1));
            let behind: Vec<_> = rows
                .filter_map(|it| Some(it.split_once(&name)?.1))
                .collect();
            assert!(
                !behind.is_empty(),
                "docs/operations.md does not have {name}"
            );
            if section == "limits" {
                let says_so = |it: &&str| it.starts_with(" [*]");
                let said = behind.iter().filter(|it| says_so(it)).count();
                let expected = if is_for_plugins { behind.len() } else { 0 };
                assert_eq!(said, expected, "the [*] behind {name}");
            }
            found += 1;
        }
    }
    assert!(found > 40, "only {found} limits were found");
}

/// The listings of a page that are marked as TOML, but for those of a crate's manifest.
fn listings(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page can be read");
    let mut events = Parser::new(&text);
    let mut listings = Vec::new();
    while let Some(event) = events.next() {
        let Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) = event else {
            continue;
        };
        let Some(Event::Text(listing)) = events.next() else {
            continue;
        };
        let is_manifest = listing.contains("dependencies]") || listing.contains("[package]");
        if &*language == "toml" && !is_manifest {
            listings.push(listing.to_string());
        }
    }
    listings
}
