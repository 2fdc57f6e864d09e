//! The checks of what a plugin's `describe()` returns.
//!
//! They are called directly: how a record leaves a guest is Wasmtime's part, and a component for each input would take
//! milliseconds where the checks take one. An input is lines: the kind of handler first, then `path`, `name`,
//! `middleware` and `protocol` with what they say; `schedule` and its name, and in the next line `every` or `cron`.

use chrono::Utc;
use tulpar_runtime::plugin::describe::{Schedule, Timing, check};
use tulpar_runtime::plugin::metadata::{Handler, ScheduleAtRest};

use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "descriptor",
    run: descriptor,
    words: &[
        "namespace\n",
        "middleware\n",
        "controller\n",
        "service\n",
        "\npath /",
        "\nname ",
        "\nmiddleware ",
        "\nprotocol ",
        "\nschedule a\nevery 10",
        "\nschedule b\ncron * * * * *",
        "\nevery ",
        "\ncron ",
        "*/5",
        "0-59/61",
        "29 2 ",
        "31 4 ",
        "#5",
        "L",
        "W",
        "?",
        "@hourly",
        "@yearly",
        "MON-SUN",
        "jan",
        ",,",
        "18446744073709551615",
        "31622400000",
        "/../",
        "//",
        "%2f",
        "\t",
        "\0",
        "\u{85}",
        "\u{feff}",
        "\u{202e}",
    ],
};

const MAX_TEXT: usize = 128;
const MAX_PATH: usize = 256;
const MAX_LIST: usize = 32;

/// Checks the descriptor that the bytes say, and whether what passes is what the contract allows.
pub fn descriptor(bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes);
    let said = parse(&text);
    let number = u64::from(text.as_bytes().first().copied().unwrap_or(0));
    match check(said.clone()) {
        Err(refusal) => vec![kind(&refusal.to_string())],
        Ok(schedules) => {
            allowed(&said);
            let mut seen = vec![number];
            seen.extend(schedules.iter().map(comes));
            seen
        }
    }
}

fn parse(text: &str) -> Handler {
    let mut lines = text.split('\n');
    let of_kind = lines.next().unwrap_or_default();
    let (mut path, mut name) = (String::new(), String::new());
    let (mut middlewares, mut protocols) = (Vec::new(), Vec::new());
    let mut schedules: Vec<ScheduleAtRest> = Vec::new();
    for line in lines {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let text = value.to_owned();
        match key {
            "path" => path = text,
            "name" => name = text,
            "middleware" => middlewares.push(text),
            "protocol" => protocols.push(text),
            "schedule" => schedules.push(ScheduleAtRest {
                name: text,
                every_ms: None,
                cron: None,
            }),
            "every" => {
                if let Some(last) = schedules.last_mut() {
                    last.every_ms = value.parse().ok();
                }
            }
            "cron" => {
                if let Some(last) = schedules.last_mut() {
                    last.cron = Some(text);
                }
            }
            _ => (),
        }
    }
    match of_kind {
        "middleware" => Handler::Middleware { name },
        "service" => Handler::Service { name, schedules },
        "controller" => Handler::Controller {
            path,
            name,
            middlewares,
        },
        _ => Handler::Namespace {
            path,
            name,
            middlewares,
            protocols,
        },
    }
}

/// What has passed is what the contract says.
fn allowed(said: &Handler) {
    match said {
        Handler::Namespace {
            path,
            name,
            middlewares,
            protocols,
        } => {
            is_path(path);
            is_text(name);
            is_list(middlewares);
            is_list(protocols);
            for protocol in protocols {
                assert!(protocol.bytes().all(|b| b.is_ascii_graphic()));
                assert!(!protocol.contains(['"', '(', ')', ',', '/', ':', ';', '=', '@', '{']));
            }
        }
        Handler::Controller {
            path,
            name,
            middlewares,
        } => {
            is_path(path);
            is_text(name);
            is_list(middlewares);
        }
        Handler::Middleware { name } => is_text(name),
        Handler::Service { name, schedules } => {
            is_text(name);
            assert!(schedules.len() <= MAX_LIST);
            schedules
                .iter()
                .for_each(|schedule| is_text(&schedule.name));
        }
    }
}

fn is_text(text: &str) {
    assert!((1..=MAX_TEXT).contains(&text.len()), "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn is_list(texts: &[String]) {
    assert!(texts.len() <= MAX_LIST, "{}", texts.len());
    texts.iter().for_each(|text| is_text(text));
}

fn is_path(path: &str) {
    assert!((1..=MAX_PATH).contains(&path.len()), "{path:?}");
    assert!(
        !path.chars().any(|c| c.is_control() || c == ' '),
        "{path:?}"
    );
    assert!(!path.contains(['?', '#']), "{path:?}");
    if path != "/" {
        let segments: Vec<_> = path.split('/').collect();
        assert_eq!(segments[0], "", "{path:?}");
        let strange = |segment: &&str| matches!(*segment, "" | "." | "..");
        assert!(!segments[1..].iter().any(strange), "{path:?}");
    }
}

/// The times of a schedule come one after the other, as the service asks for them.
fn comes(schedule: &Schedule) -> u64 {
    match &schedule.timing {
        Timing::Every(every) => {
            assert!((10..=31_622_400_000).contains(&every.as_millis()));
            1000
        }
        Timing::Cron { cron, .. } => {
            let mut last = Utc::now();
            for _ in 0..3 {
                let Ok(next) = cron.find_next_occurrence(&last, false) else {
                    return 1001;
                };
                assert!(next > last, "{next} after {last}");
                last = next;
            }
            1002
        }
    }
}
