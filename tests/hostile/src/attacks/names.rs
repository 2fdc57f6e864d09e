//! A guest that names what is another tenant's.

use crate::arena::{Arena, Fate};
use crate::row::Row;

use tulpar_tests::json;

pub fn rows() -> Vec<Row> {
    vec![Row::new(
        "name-tricks",
        |builder| builder.tenant("evil1", &["name-tricks"]),
        |arena| Box::pin(reaches_nobody(arena)),
    )]
}

/// The neighbour's namespace, in every spelling that some layer might take for it.
const PATHS: [&str; 36] = [
    "/good/echo",
    "good/echo",
    "//good/echo",
    "/good//echo",
    "/good/echo/",
    "/./good/echo",
    "/../good/echo",
    "../good/echo",
    "/../../good/echo",
    "/x/../../good/echo",
    "/name-tricks/../../good/echo",
    "/..%2fgood%2fecho",
    "/%2e%2e/good/echo",
    "%2e%2e/good/echo",
    "/..\\good\\echo",
    "\\good\\echo",
    "/GOOD/ECHO",
    "/Good/Echo",
    "/good/echo?",
    "/good/echo#",
    "/good/echo\0",
    "/\0/../good/echo",
    "/good/echo\n",
    " /good/echo",
    "/evil1/../good/echo",
    "/echo",
    "/good",
    "/good/*",
    "/*/echo",
    "*",
    ">",
    "/>",
    ".",
    "..",
    "/",
    "",
];

const ROOMS: [&str; 9] = [
    "hall",
    "/good/echo/hall",
    "good.echo.hall",
    "../hall",
    "*",
    ">",
    "hall.>",
    "hall\0",
    "",
];

/// The outcomes that mean nobody: a refusal, or a number of sockets that is zero.
const REFUSALS: [&str; 8] = [
    "namespace-not-found",
    "socket-not-found",
    "invalid-namespace",
    "invalid-room",
    "permission-denied",
    "limit-exceeded",
    "InvalidArgument",
    "none",
];

async fn reaches_nobody(arena: &Arena) -> String {
    let mut ids: Vec<String> = arena.neighbour_ids.iter().take(2).cloned().collect();
    assert_eq!(ids.len(), 2, "the neighbour has sockets");
    // The spellings of an id are few: it is a word without structure.
    let first = ids[0].clone();
    ids.extend([
        first.to_uppercase(),
        format!("/good/echo/{first}"),
        format!("{first}\0"),
        "*".to_owned(),
        String::new(),
    ]);
    let mut tried = 0;
    let mut stopped = 0;
    while tried == 0 || arena.is_on() {
        // A few at a time, so that a bound on calls does not hide what comes after it.
        for paths in PATHS.chunks(4) {
            let told = json!({ "paths": paths, "rooms": ROOMS, "ids": ids });
            match arena.strike("/evil1/name-tricks", &told.to_string()).await {
                Fate::Told(report) => tried += check(&report),
                fate if fate.is_quarantined() => stopped += 1,
                fate => panic!("not what was promised: {fate}"),
            }
        }
    }
    assert!(tried > 0, "nothing was tried");
    format!("{tried} tries, nobody addressed, {stopped} refused")
}

/// How many tries a report tells of, none of which may have reached anybody.
fn check(report: &str) -> usize {
    let tries: Vec<(String, String, tulpar_tests::Value)> =
        serde_json::from_str(report).expect("the report is JSON");
    for (what, name, outcome) in &tries {
        let is_own = what == "ulak.namespaces" && outcome == "/name-tricks";
        let is_refused = outcome
            .as_str()
            .is_some_and(|text| REFUSALS.contains(&text));
        assert!(
            is_own || is_refused || outcome == 0,
            "{what} of {name:?} came to {outcome}"
        );
    }
    tries.len()
}
