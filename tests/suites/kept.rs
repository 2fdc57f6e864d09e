//! What a server keeps of its plugins over a restart, in the folder `state`: the last part of rule P6.

use std::fs;

use tempfile::TempDir;
use tulpar_tests::swap::{be_of, generation};
use tulpar_tests::{
    Builder, Mould, PATIENCE, Server, Signal, Value, become_served, connect, eventually,
};

const NONSENSE: &[u8] = b"nonsense";

fn state() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// One that keeps what it does there.
fn builder(state: &TempDir) -> Builder {
    Server::with(&[]).env("TULPAR_STATE", &state.path().display().to_string())
}

/// The same with that in `swap.wasm`.
fn server(state: &TempDir, swap: &[u8]) -> Server {
    builder(state).file("swap.wasm", swap).start()
}

/// A server whose plugin has been replaced by its second generation.
async fn replaced(state: &TempDir) -> Server {
    let server = server(state, &generation(1).bytes());
    server.drop_in("swap.wasm", &generation(2).bytes());
    serves(&server, 2).await;
    server
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    server.wait_exit(PATIENCE);
}

async fn serves(server: &Server, number: u32) {
    become_served(server, "/swap").await;
    be_of(&mut connect(server.url("/swap")).await, number).await;
}

fn roll_back(server: &Server) {
    let obeyed = server.tulpar(&["plugins", "rollback", "swap"]);
    obeyed.expect("it obeys");
}

fn is_rolled_back(server: &Server) -> bool {
    let listed = server.tulpar(&["plugins", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.expect("it lists")).expect("it is JSON");
    assert_eq!(listed[0]["name"], "swap");
    listed[0]["status"] == "rolled-back"
}

/// The plugins of which something is kept.
fn kept(state: &TempDir) -> Vec<String> {
    let text = fs::read(state.path().join("plugins.json")).expect("it is there");
    let kept: Value = serde_json::from_slice(&text).expect("it is JSON");
    let kept = kept.as_object().expect("it has one entry for each");
    kept.keys().cloned().collect()
}

#[tokio::test]
async fn p6_a_rollback_from_what_is_no_plugin_holds_over_a_restart() {
    let state = state();
    let before = replaced(&state).await;
    before.drop_in("swap.wasm", NONSENSE);
    before.log_line(&["refused", "swap.wasm", "is not WebAssembly"]);
    roll_back(&before);
    serves(&before, 1).await;
    stop(before);

    let after = server(&state, NONSENSE);
    serves(&after, 1).await;
    assert!(is_rolled_back(&after));
    // And ends as ever.
    after.drop_in("swap.wasm", &generation(2).bytes());
    serves(&after, 2).await;
}

#[tokio::test]
async fn p6_what_was_rolled_back_is_served_when_it_comes_again() {
    let state = state();
    let server = server(&state, &generation(1).bytes());
    // What comes in between: what serves anyhow, and what is refused.
    for between in [generation(1).bytes(), NONSENSE.to_vec()] {
        server.drop_in("swap.wasm", &generation(2).bytes());
        serves(&server, 2).await;
        roll_back(&server);
        assert!(is_rolled_back(&server));
        serves(&server, 1).await;
        server.drop_in("swap.wasm", &between);
        eventually("the rollback to be over", async || {
            (!is_rolled_back(&server)).then_some(())
        })
        .await;
        serves(&server, 1).await;
    }
    server.drop_in("swap.wasm", &generation(2).bytes());
    serves(&server, 2).await;
}

#[tokio::test]
async fn p6_what_is_kept_of_a_plugin_goes_when_its_file_goes_while_no_server_runs() {
    let state = state();
    let off = Mould::namespace("/off").bytes();
    let before = builder(&state).file("swap.wasm", &generation(1).bytes());
    let before = before.file("off.wasm", &off).start();
    let obeyed = before.tulpar(&["plugins", "disable", "off"]);
    obeyed.expect("it obeys");
    before.drop_in("swap.wasm", &generation(2).bytes());
    serves(&before, 2).await;
    stop(before);
    assert_eq!(kept(&state), ["off", "swap"]);

    // A folder without any plugins may be one that is still to be filled.
    stop(builder(&state).start());
    assert_eq!(kept(&state), ["off", "swap"]);

    let other = Mould::namespace("/other").bytes();
    stop(builder(&state).file("other.wasm", &other).start());
    // What is disabled would be served when it comes again.
    assert_eq!(kept(&state), ["off", "other"]);
    let files = fs::read_dir(state.path().join("files")).expect("the folder is there");
    assert_eq!(files.count(), 2);
}

#[tokio::test]
async fn p6_a_rollback_outlives_a_start_without_the_plugins_file() {
    let state = state();
    let before = replaced(&state).await;
    roll_back(&before);
    serves(&before, 1).await;
    stop(before);

    let other = Mould::namespace("/other").bytes();
    stop(builder(&state).file("other.wasm", &other).start());
    let after = server(&state, &generation(2).bytes());
    serves(&after, 1).await;
    assert!(is_rolled_back(&after));
}

#[tokio::test]
async fn p6_who_gets_the_folder_later_keeps_what_happens_from_then_on() {
    let state = state();
    let first = server(&state, &generation(1).bytes());
    let second = server(&state, &generation(1).bytes());
    let vain = second.tulpar(&["plugins", "disable", "swap"]);
    let vain = vain.expect_err("it cannot be kept");
    assert!(vain.contains("another server"), "{vain}");
    stop(first);
    let obeyed = second.tulpar(&["plugins", "disable", "swap"]);
    obeyed.expect("it is kept");
    assert_eq!(kept(&state), ["swap"]);
}

#[tokio::test]
async fn p6_of_two_servers_with_one_folder_the_first_keeps_what_it_has() {
    let state = state();
    let first = replaced(&state).await;
    let second = builder(&state).file("other.wasm", &Mould::namespace("/other").bytes());
    let second = second.start();
    second.log_line(&["nothing is kept", "another server keeps its plugins there"]);
    become_served(&second, "/other").await;
    let refused = second.tulpar(&["plugins", "disable", "other"]);
    let refused = refused.expect_err("it would be forgotten");
    assert!(refused.contains("cannot be kept"), "{refused}");
    stop(second);

    assert_eq!(kept(&state), ["swap"]);
    roll_back(&first);
    serves(&first, 1).await;
    stop(first);
    // Who comes when nobody has it any more, has it.
    let third = server(&state, &generation(2).bytes());
    serves(&third, 1).await;
    roll_back(&third);
    serves(&third, 2).await;
}
