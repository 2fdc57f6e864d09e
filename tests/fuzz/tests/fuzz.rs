//! Each target for a moment: on what is stored in `corpus/`, and on what is made of it. `make fuzz` does it for longer.

use tulpar_fuzz::{TARGETS, drive};

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    drive::run(target.unwrap_or_else(|| panic!("there is no target `{name}`")));
}

#[test]
fn section() {
    run("section");
}

#[test]
fn descriptor() {
    run("descriptor");
}

#[test]
fn configuration() {
    run("configuration");
}

#[test]
fn compression() {
    run("compression");
}

#[test]
fn boundary() {
    run("boundary");
}

#[test]
fn reader() {
    run("reader");
}

#[test]
fn handshake() {
    run("handshake");
}

#[test]
fn proxy() {
    run("proxy");
}

#[test]
fn publication() {
    run("publication");
}
