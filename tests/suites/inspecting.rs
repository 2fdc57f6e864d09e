//! `tulpar check` and `tulpar inspect`: what would become of a file, without running it.

use std::fs;
use std::path::Path;

use tulpar_tests::{Mould, Server, Value, guest, guest_path, json, outcome, succeed};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn inspected(folder: &Path, file: &str) -> Value {
    let outcome = outcome(folder, &["inspect", file, "--json"]);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn p5_check_refuses_what_a_server_refuses_and_for_the_same_reason() {
    let commander = guest("commander");
    let (half, _) = commander.split_at(commander.len() / 2);
    let wat = |text: &str| wat::parse_str(text).expect("the text is WAT");
    let hungry = wat("(component (core module (memory 2000)))");
    let hollow = wat(
        r#"(component (instance $i) (export "tulpar:plugin/namespace-handler@0.1.0" (instance $i)))"#,
    );
    let files = [
        ("text.wasm", &b"not a component at all"[..]),
        ("empty.wasm", b""),
        ("module.wasm", &wat("(module)")),
        ("compiled.wasm", b"\x7fELF\x02\x01\x01\0"),
        ("half.wasm", half),
        ("bare.wasm", &wat("(component)")),
        ("hollow.wasm", &hollow),
        ("hungry.wasm", &hungry),
        ("greedy.wasm", &guest("greedy")),
        ("caller.wasm", &guest("caller")),
    ];
    let folder = scratch();
    let mut server = Server::with(&[]);
    for (file, bytes) in files {
        fs::write(folder.path().join(file), bytes).expect("the file can be written");
        server = server.file(file, bytes);
    }
    let server = server.start();
    let names: Vec<_> = files.iter().map(|(file, _)| *file).collect();
    let checked = outcome(folder.path(), &[&["check"][..], &names].concat());
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let lines: Vec<_> = checked.stdout.lines().collect();
    assert_eq!(lines.len(), files.len(), "{checked:?}");
    for (line, (file, _)) in lines.iter().zip(files) {
        assert_eq!(*line, server.refusal(file));
        let refused = &inspected(folder.path(), file)["refused"];
        let refused = refused.as_str().expect("it says why");
        assert_eq!(*line, format!("refused {file}: {refused}"));
    }
}

#[test]
fn p2_check_reads_what_a_plugin_says_of_itself() {
    let folder = scratch();
    // What it says when it runs is not what its section says, which is what is to be seen here.
    let moulded = Mould::namespace("/elsewhere").bytes();
    fs::write(folder.path().join("moulded.wasm"), moulded).expect("the file can be written");
    let chat = guest_path("chat").display().to_string();
    let auth = guest_path("ws-auth").display().to_string();
    let said = succeed(folder.path(), &["check", &chat, &auth, "moulded.wasm"]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            format!("fits {chat}: namespace /chat"),
            format!("fits {auth}: middleware ws-auth"),
            "fits moulded.wasm".to_owned(),
        ]
    );
}

#[test]
fn check_keeps_to_the_limits_of_the_configuration() {
    let folder = scratch();
    let chat = guest_path("chat").display().to_string();
    let toml = "[limits]\nmax-plugin-bytes = 1000";
    fs::write(folder.path().join("tulpar.toml"), toml).expect("the file can be written");
    let refused = outcome(folder.path(), &["check", &chat]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stdout.contains("limits.max-plugin-bytes"),
        "{refused:?}"
    );
    fs::write(folder.path().join("tulpar.toml"), "limits = 1").expect("the file can be written");
    assert_eq!(outcome(folder.path(), &["check", &chat]).code, Some(2));
}

#[test]
fn inspect_tells_everything_that_is_known() {
    let folder = scratch();
    let file = guest_path("notification-service").display().to_string();
    let found = inspected(folder.path(), &file);
    assert_eq!(found["refused"], Value::Null);
    assert_eq!(found["bytes"], guest("notification-service").len());
    assert!(found["core-modules"].as_u64() >= Some(1), "{found}");
    let exports = found["exports"].as_array().expect("it is a list");
    for export in [
        "tulpar:plugin/service-handler@0.1.0",
        "tulpar:plugin/controller-handler@0.1.0",
    ] {
        assert!(exports.contains(&json!(export)), "{found}");
    }
    let handlers = found["handlers"].as_array().expect("it is a list");
    let controller = handlers.iter().find(|it| it["kind"] == "controller");
    assert_eq!(controller.expect("it has one")["path"], "/notify");
    let needs = found["needs"].as_array().expect("it is a list").iter();
    let needs: Vec<_> = needs.map(|need| &need["what"]).collect();
    assert_eq!(needs, ["ulak"]);

    let page = succeed(folder.path(), &["inspect", &file]);
    for part in [
        "would be served",
        "/notify (NotificationController)",
        "full_hour at \"0 * * * *\"",
        "tulpar:plugin@0.1.0",
        "other namespaces",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains('\u{1b}'), "there is no terminal: {page}");
}

#[test]
fn inspect_tells_what_of_a_foreign_component_is_not_known() {
    let folder = scratch();
    let file = guest_path("foreign").display().to_string();
    let found = inspected(folder.path(), &file);
    assert_eq!(found["refused"], Value::Null);
    assert_eq!(found["handlers"], Value::Null);
    let notes = found["notes"].to_string();
    assert!(notes.contains("would be served at /foreign/"), "{notes}");
    let file = guest_path("worker").display().to_string();
    let needs = inspected(folder.path(), &file)["needs"].to_string();
    for need in [
        "config",
        "store",
        "[plugin.\\\"worker\\\"]",
        "[plugin.\\\"TENANT/worker\\\"]",
    ] {
        assert!(needs.contains(need), "{needs}");
    }
}
