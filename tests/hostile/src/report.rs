//! The table of what came of each row.

use std::time::Duration;

use crate::run::{Outcome, Verdict};

const HEAD: [&str; 12] = [
    "attack",
    "verdict",
    "what happened to the attacker",
    "sent",
    "received",
    "lost",
    "p99 alone before",
    "p99 alone after",
    "p99 under attack",
    "ratio",
    "longest",
    "memory before/peak/after",
];

/// The row as the table's cells.
fn cells(outcome: &Outcome) -> [String; 12] {
    let [before, after] = &outcome.alone;
    let under = &outcome.under;
    let alone = outcome.p99_alone();
    let ratio = outcome.p99_under().as_secs_f64() / alone.as_secs_f64().max(f64::MIN_POSITIVE);
    let verdict = match outcome.verdict() {
        Verdict::Held => "held",
        Verdict::Red => "RED",
        Verdict::Noisy => "noisy",
    };
    let wrong: Vec<_> = outcome
        .faults
        .iter()
        .chain(&outcome.slow)
        .map(String::as_str)
        .collect();
    let mut attacker = outcome.attacker.clone();
    if !wrong.is_empty() {
        attacker = format!("{attacker}; but {}", wrong.join("; "));
    }
    if outcome.runs > 1 {
        attacker = format!("{attacker} (run {} times)", outcome.runs);
    }
    let memory = [
        outcome.memory.before,
        outcome.memory.peak,
        outcome.memory.after,
    ]
    .map(|bytes| (bytes >> 20).to_string());
    let every = before.clone().with(under).with(after);
    [
        outcome.name.clone(),
        verdict.to_owned(),
        one_line(&attacker),
        every.sent.to_string(),
        format!("{} of {}", every.received(), every.expected),
        every.lost().to_string(),
        millis(before.percentile(99.0)),
        millis(after.percentile(99.0)),
        millis(under.percentile(99.0)),
        format!("{ratio:.1}"),
        millis(under.max()),
        format!("{} MiB", memory.join("/")),
    ]
}

/// A table for people who read Markdown.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let head: Vec<_> = HEAD.iter().map(|&name| name.to_owned()).collect();
    let rule = vec!["---".to_owned(); HEAD.len()];
    let rows = outcomes.iter().map(|outcome| line(&cells(outcome)));
    [line(&head), line(&rule)].into_iter().chain(rows).collect()
}

/// One row for the terminal, as soon as it is there.
pub fn plain(outcome: &Outcome) -> String {
    let cells = cells(outcome);
    format!(
        "{:<5} {:<24} p99 {:>8} alone, {:>8} under attack (x{}), longest {:>8}; received {}, lost {}; memory {}\n      {}",
        cells[1],
        cells[0],
        millis(outcome.p99_alone()),
        cells[8],
        cells[9],
        cells[10],
        cells[4],
        cells[5],
        cells[11],
        cells[2],
    )
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A panic's text has line ends, and may be long.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
