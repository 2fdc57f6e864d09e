//! `tulpar config`, and what the command line tells of itself.

use std::fs;
use std::os::unix::fs::symlink;

use tulpar_tests::{Value, json, outcome, succeed, tulpar};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn config_tells_what_holds_and_who_says_so() {
    let folder = scratch();
    let toml = "listen = '127.0.0.1:4000'\n[limits]\ndeadline-ms = 7\nhandles = 8\n\
                [plugin.'acme/chat'.config]\ntoken = 'hunter2'\nkey = { env = 'KEY' }";
    fs::write(folder.path().join("tulpar.toml"), toml).expect("the file can be written");
    let run = |args: &[&str]| {
        let mut command = tulpar(folder.path(), args);
        command
            .env("TULPAR_LIMITS_HANDLES", "9")
            .env("KEY", "hunter3");
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints text")
    };
    let changed = run(&["config", "--changed", "--dev"]);
    let lines: Vec<Vec<_>> = changed
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected = [
        r#"dev = true # --dev"#,
        r#"listen = "127.0.0.1:4000" # tulpar.toml:1"#,
        r#"[limits]"#,
        r#"deadline-ms = 7 # tulpar.toml:3"#,
        r#"handles = 9 # TULPAR_LIMITS_HANDLES"#,
        r#"[plugin."acme/chat".config]"#,
        r#"key = { env = "KEY" } # tulpar.toml:7"#,
        r#"# token = ... (not shown) # tulpar.toml:6"#,
    ];
    let expected: Vec<Vec<_>> = expected
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines, expected);

    // What it prints is a configuration file, and the same again.
    let all = run(&["config"]);
    assert!(!all.contains("hunter"), "{all}");
    fs::write(folder.path().join("again.toml"), &all).expect("the file can be written");
    let values = |text: &str| {
        let lines = text
            .lines()
            .map(|line| line.split("  #").next().unwrap_or_default());
        lines
            .map(str::trim_end)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let again = run(&["config", "--config", "again.toml"]);
    let shown = |text: &str| {
        let mut lines = values(text);
        lines.retain(|line| !line.starts_with('#'));
        lines
    };
    assert_eq!(shown(&again), shown(&all));

    let settings: Value = serde_json::from_str(&run(&["config", "--json"])).expect("it is JSON");
    let settings = settings.as_array().expect("it is a list");
    let of = |path: &[&str]| {
        let found = settings.iter().find(|it| it["path"] == json!(path));
        found.expect("there is such a setting").clone()
    };
    assert_eq!(
        of(&["limits", "deadline-ms"]),
        json!({ "path": ["limits", "deadline-ms"], "value": 7, "source": { "file": { "path": "tulpar.toml", "line": 3 } } })
    );
    assert_eq!(of(&["timeouts", "pong-ms"])["source"], "default");
    assert_eq!(
        of(&["plugin", "acme/chat", "config", "token"])["value"],
        Value::Null
    );
}

#[test]
fn config_says_what_is_wrong() {
    let folder = scratch();
    fs::write(folder.path().join("tulpar.toml"), "plugns = 'x'").expect("the file can be written");
    let refused = outcome(folder.path(), &["config"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("did you mean `plugins`"),
        "{refused:?}"
    );
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_file_of_which_nobody_knows_whether_it_is_there_is_not_taken_for_none() {
    let folder = scratch();
    let file = folder.path().join("tulpar.toml");
    symlink(&file, &file).expect("a link can lead to itself");
    let refused = outcome(folder.path(), &["config"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let said = "cannot read the configuration tulpar.toml: ";
    assert!(refused.stderr.contains(said), "{refused:?}");
}

#[test]
fn no_folder_is_for_two_things() {
    let folder = scratch();
    let refused = outcome(folder.path(), &["config", "--cache", "./.tulpar/store/"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let said = "`cache` and `store` are both .tulpar/store; each needs a folder of its own";
    assert!(refused.stderr.contains(said), "{refused:?}");
}

#[test]
fn a_table_for_what_no_plugin_can_be_called_is_refused() {
    let folder = scratch();
    let file = folder.path().join("tulpar.toml");
    for table in ["plugin.\"chat.wasm\"", "plugin._chat", "tenant._acme"] {
        fs::write(&file, format!("[{table}.limits]\n")).expect("the file can be written");
        let refused = outcome(folder.path(), &["config"]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let said = format!("`{table}`: ");
        assert!(refused.stderr.contains(&said), "{refused:?}");
        assert!(refused.stderr.contains("ends in `.wasm`"), "{refused:?}");
    }
}

#[test]
fn the_shells_are_told_of_every_command() {
    let folder = scratch();
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(folder.path(), &["completions", shell]);
        for command in ["new", "build", "dev", "inspect", "rollback"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    succeed(folder.path(), &["man", "pages"]);
    let page = fs::read_to_string(folder.path().join("pages/tulpar-dev.1"));
    assert!(page.expect("there is a page").contains("Examples:"));
}

#[test]
fn help_teaches_by_examples_and_errors_point_to_it() {
    let folder = scratch();
    let help = succeed(folder.path(), &["--help"]);
    assert!(
        help.contains("tulpar new hello && cd hello && tulpar dev"),
        "{help}"
    );
    let wrong = outcome(folder.path(), &["sreve"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("'serve'"), "{wrong:?}");
}
