//! Files that come, change and go while sockets are open: rule P6.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tulpar_tests::swap::{ask, be_of, generation, server};
use tulpar_tests::{
    Mould, Server, Signal, become_served, connect, eventually, expect_echo, expect_not_served,
    guest, json, scripted,
};

#[tokio::test]
async fn p6_a_half_written_file_is_never_loaded() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    let bytes = generation(2).bytes();
    let path = server.plugins_folder().join("swap.wasm");
    // As `cp` and a slow network do: the same file is emptied, and its bytes come one after the other.
    let mut file = File::create(&path).expect("it can be written");
    let mut parts: Vec<_> = bytes.chunks(bytes.len() / 6 + 1).collect();
    let last = parts.pop().expect("there are several");
    for part in parts {
        file.write_all(part).expect("it can be written");
        file.flush().expect("it can be written");
        // Longer than a file has to be quiet.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ask(&mut client, "b").await["generation"], "1");
    }
    assert!(server.stderr.with("refused").is_empty());
    // Whole, it may be loaded before it is closed, where the news come late that somebody writes to it.
    file.write_all(last).expect("it can be written");
    drop(file);
    be_of(&mut client, 2).await;
}

#[tokio::test]
async fn p6_a_file_that_comes_in_pieces_with_pauses_is_never_loaded_before_its_end() {
    let server = Server::with(&["echo"]).start();
    let bytes = generation(1).bytes();
    let path = server.plugins_folder().join("swap.wasm");
    // For how long nothing came at most.
    let mut longest = Duration::ZERO;
    let mut before = Instant::now();
    for end in [4, 1000, bytes.len() / 2, bytes.len() - 1] {
        let begun = Instant::now();
        // Each piece by somebody who opens and closes it.
        fs::write(&path, &bytes[..end]).expect("it can be written");
        longest = longest.max(before.elapsed());
        before = begun;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(server.stderr.with("loaded swap").is_empty());
    }
    let refused = server.stderr.with("refused");
    longest = longest.max(before.elapsed());
    // After two seconds it is refused, and rightly so.
    if longest < Duration::from_millis(1500) {
        assert!(refused.is_empty(), "{refused:?} after {longest:?}");
    }
    fs::write(&path, &bytes).expect("it can be written");
    become_served(&server, "/swap").await;
}

#[tokio::test]
async fn p6_a_file_that_stays_incomplete_is_refused_in_the_end() {
    let server = Server::with(&["echo"]).start();
    server.drop_in("swap.wasm", &generation(1).bytes()[..5000]);
    server.log_line(&["refused", "swap.wasm", "is not complete"]);
}

#[tokio::test]
async fn p6_a_deleted_plugin_goes_in_order_and_can_come_again() {
    let server = Server::with(&["commander", "echo"]).start();
    let mut observer = connect(server.url("/echo")).await;
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "nothing" })).await;
    server.take_out("commander.wasm");
    assert_eq!(
        client.expect_close().await,
        (1001, "The plugin was removed".to_owned())
    );
    expect_not_served(&server, "/commander").await;
    observer.send("there?").await;
    assert_eq!(observer.recv_text().await, "there?");
    server.drop_in("commander.wasm", &guest("commander"));
    become_served(&server, "/commander").await;
    expect_echo(&server, "/commander").await;
}

#[tokio::test]
async fn p6_on_close_of_a_deleted_plugin_runs() {
    let server = Server::with(&["scripted", "attach", "echo"]).start();
    let last_words = json!([{ "do": "log", "level": "info", "text": "last words" }]);
    let mut client = scripted(&server, json!({ "close": last_words })).await;
    client.ask(json!({ "do": "nothing" })).await;
    server.take_out("scripted.wasm");
    assert_eq!(client.expect_close().await.0, 1001);
    server.log_line(&["last words"]);
}

#[tokio::test]
async fn p6_renaming_a_file_is_deleting_and_adding_it() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    let folder = server.plugins_folder();
    fs::rename(folder.join("swap.wasm"), folder.join("other.wasm")).expect("it can be moved");
    assert_eq!(client.expect_close().await.0, 1001);
    become_served(&server, "/swap").await;
    server.log_line(&["loaded other.wasm"]);
}

#[tokio::test]
async fn p6_what_a_symlink_leads_to_counts() {
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let release = |number: u32| {
        let file = elsewhere.path().join(format!("{number}.wasm"));
        fs::write(&file, generation(number).bytes()).expect("it can be written");
        file
    };
    let server = Server::with(&[]).start();
    let link = server.plugins_folder().join("swap.wasm");
    symlink(release(1), &link).expect("links can be made");
    become_served(&server, "/swap").await;
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    // As releases are switched: a new link is moved over the old one.
    let new = server.plugins_folder().join(".new");
    symlink(release(2), &new).expect("links can be made");
    fs::rename(&new, &link).expect("it can be moved");
    be_of(&mut client, 2).await;
    // And what is behind the link is changed, of which no news comes from the folder.
    fs::write(elsewhere.path().join("2.wasm"), generation(3).bytes()).expect("it can be written");
    be_of(&mut client, 3).await;
}

#[tokio::test]
async fn p6_a_tenants_folder_comes_and_goes() {
    let server = Server::with(&["echo"]).start();
    server.drop_in("acme/swap.wasm", &generation(1).bytes());
    become_served(&server, "/acme/swap").await;
    let mut client = connect(server.url("/acme/swap")).await;
    ask(&mut client, "a").await;
    fs::remove_dir_all(server.plugins_folder().join("acme")).expect("it can be removed");
    assert_eq!(client.expect_close().await.0, 1001);
    server.drop_in("acme/swap.wasm", &generation(2).bytes());
    become_served(&server, "/acme/swap").await;
    let mut client = connect(server.url("/acme/swap")).await;
    server.drop_in("acme/swap.wasm", &generation(3).bytes());
    be_of(&mut client, 3).await;
}

#[tokio::test]
async fn p6_a_path_that_becomes_free_goes_to_who_was_refused_for_it() {
    let server = server();
    server.drop_in("rival.wasm", &Mould::reloaded("/swap", "rival").bytes());
    server.log_line(&["refused", "rival.wasm", "swap.wasm's already"]);
    server.take_out("swap.wasm");
    eventually("the rival to serve", async || {
        let client = tulpar_tests::Connect::to(server.url("/swap"))
            .attempt()
            .await;
        let mut client = client.ok()?;
        client.send("who?").await;
        match client.recv().await? {
            tulpar_tests::Message::Text(text) => text.contains("rival").then_some(()),
            _ => None,
        }
    })
    .await;
}

#[tokio::test]
async fn p6_a_touched_file_is_no_other_one() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    server.drop_in("swap.wasm", &generation(1).bytes());
    // Something later, also by its name, shows that it has been looked at.
    server.drop_in("zz-later.wasm", &guest("echo"));
    become_served(&server, "/echo").await;
    assert_eq!(ask(&mut client, "b").await["seen"], 2);
    assert!(server.stderr.with("replaced").is_empty());
}

/// Has a server compile one generation after the other until one is refused for that: some are compiled before anything
/// can happen to the compiler. `happen` is done as long as one is compiled. Gives the last generation.
async fn refuse_compiling(server: &Server, why: &str, happen: impl Fn(&Server)) -> u32 {
    let mut number = 0;
    loop {
        number += 1;
        let loaded = server.stderr.with("plugin loaded").len();
        server.drop_in("swap.wasm", &generation(number).bytes());
        let refused = eventually("it to be compiled or not", async || {
            if !server.stderr.with(why).is_empty() {
                return Some(true);
            }
            happen(server);
            (server.stderr.with("plugin loaded").len() > loaded).then_some(false)
        })
        .await;
        if refused {
            return number;
        }
    }
}

/// Ends the process that compiles for this server, if there is one now.
fn end_compiler(server: &Server) {
    let said = |process: &str, file: &str| {
        let said = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    };
    let plugins = server.plugins_folder().to_string_lossy();
    for process in fs::read_dir("/proc").expect("it is there").flatten() {
        let process = process.file_name().to_string_lossy().into_owned();
        if !said(&process, "cmdline").contains("compile-component") {
            continue;
        }
        let status = said(&process, "status");
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .unwrap_or_default();
        if said(parent.trim(), "cmdline").contains(&*plugins) {
            let process = process.parse().ok().and_then(Pid::from_raw);
            // It may have ended.
            let _ = kill_process(process.expect("it is a number"), Signal::KILL);
        }
    }
}

#[tokio::test]
async fn p5_a_plugin_whose_compiler_was_ended_from_outside_is_compiled_again() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let server = Server::with(&[]).cache(cache.path()).start();
    let why = "the compiler was ended from outside";
    let number = refuse_compiling(&server, why, end_compiler).await;
    // It is tried again by itself, and sooner when the operator asks for it.
    server.signal(Signal::HUP);
    become_served(&server, "/swap").await;
    be_of(&mut connect(server.url("/swap")).await, number).await;
}

#[tokio::test]
async fn p5_what_took_too_long_to_compile_is_tried_again_when_the_operator_asks_for_it() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let server = Server::with(&[]).cache(cache.path());
    let server = server.config("[limits]\ncompile-ms = 1").start();
    let why = "longer than 1 ms to compile";
    refuse_compiling(&server, why, |_| {}).await;
    let tried = || [why, "plugin loaded"].map(|said| server.stderr.with(said).len());
    let before = tried();
    server.signal(Signal::HUP);
    eventually("it to be tried again", async || {
        (tried() != before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn p6_looking_at_a_folder_where_nothing_happens_costs_nothing() {
    let server = server();
    let mut client = connect(server.url("/swap")).await;
    ask(&mut client, "a").await;
    let before = server.processor_ms();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = server.processor_ms() - before;
    assert!(used < 300, "{used} ms in three seconds");
}
