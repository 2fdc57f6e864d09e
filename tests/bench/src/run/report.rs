//! RESULTS.md.

use super::Plan;
use super::machine;
use super::results::{Figure, Measured, Outcome, Results};
use super::servers::{Kind, Servers};
use super::{bar, inside, plot};
use crate::load::BUSY;

/// All of it.
pub fn markdown(plan: &Plan, servers: &Servers, results: &Results) -> String {
    let mut text =
        String::from("# Results\n\nWritten by `make bench`; README.md says how it measures.\n\n");
    for (name, value) in machine::facts() {
        text += &format!("- {name}: {value}\n");
    }
    for (kind, version) in servers.versions() {
        text += &format!("- {}: {version}\n", kind.title());
    }
    text += &format!("- command: `{}`\n", plan.command);
    text += &format!(
        "- runs of each: {}, interleaved, each with {:?} of warm-up and {:?} measured; medians\n",
        plan.runs, plan.warm_up, plan.duration
    );
    let (runs, disturbed) = results.disturbed();
    if disturbed > 0 {
        text += &format!(
            "- **disturbed**: other processes ran on the generator's core in {disturbed} of {runs} runs, which makes \
             their figures doubtful\n"
        );
    }
    for (kind, why) in servers.skipped() {
        text += &format!("- **skipped**: {}: {why}\n", kind.title());
    }
    if let Some(why) = &results.cluster.skipped {
        text += &format!("- **skipped**: {why}\n");
    }
    for failure in results.failures() {
        text += &format!("- **failed**: {failure}\n");
    }
    text += "\n## The bar\n\n| what | measured | holds |\n|---|---|---|\n";
    for row in bar::rows(results) {
        let (figure, holds) = match &row.figure {
            Some(figure) => (figure.as_str(), if row.holds { "yes" } else { "**no**" }),
            None => ("not part of this run", ""),
        };
        text += &format!("| {} | {figure} | {holds} |\n", row.what);
    }
    text += "\n![CPU time per message, relative to raw Bun](ratios.svg)\n";
    for growth in plot::GROWTHS {
        if growth.draw(results).is_some() {
            text += &format!("\n![{}]({})\n", growth.title, growth.file);
        }
    }
    text += &inside_table(results);
    for measured in results.scenarios() {
        text += &section(measured);
    }
    text + &results.cluster.markdown()
}

fn inside_table(results: &Results) -> String {
    let mut rows = String::new();
    for (name, what) in inside::MEASUREMENTS {
        if let Some(nanoseconds) = results.inside(name) {
            rows += &format!("| {what} | {:.2} |\n", nanoseconds / 1e3);
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!("\n## Inside the server, without a network\n\n| what | µs |\n|---|---|\n{rows}")
}

fn section(measured: &Measured) -> String {
    let mut text = format!("\n## {}\n\n", measured.title);
    let idle = measured
        .servers
        .values()
        .flatten()
        .any(|outcome| matches!(outcome, Outcome::Idle(_)));
    text += if idle {
        "| server | resident bytes per connection (least to most) | proportional | to raw Bun | resident before, MB |\n\
         |---|---|---|---|---|\n"
            .to_owned()
    } else {
        format!(
            "| server | CPU µs per {unit} (least to most) | to raw Bun | to the bare loop | thousand/s | \
             p50 µs | p99 µs | p999 µs | server's core | generator's core |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
            unit = measured.unit
        )
    }
    .as_str();
    for kind in Kind::ALL {
        let row = if idle {
            idle_row(measured, kind)
        } else {
            load_row(measured, kind)
        };
        text += &row.unwrap_or_default();
    }
    let warnings = warnings(measured);
    if !warnings.is_empty() {
        text += &format!("\nRuns with a warning:\n{}\n", warnings.join("\n"));
    }
    text
}

fn load_row(measured: &Measured, kind: Kind) -> Option<String> {
    let Figure {
        median,
        least,
        most,
    } = measured.cost(kind)?;
    let rate = measured.load(kind, |report| report.rate / 1000.0)?.median;
    let latency = |quantile: fn(&crate::load::Report) -> f64| measured.load(kind, quantile);
    let share = |share: fn(&crate::load::Report) -> f64| measured.load(kind, share);
    Some(format!(
        "| {} | {median:.2} ({least:.2} to {most:.2}) | {} | {} | {rate:.1} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} % |\n",
        kind.title(),
        ratio(measured, kind, Kind::Bun),
        ratio(measured, kind, Kind::Bare),
        latency(|report| report.p50_us)?.median,
        latency(|report| report.p99_us)?.median,
        latency(|report| report.p999_us)?.median,
        share(|report| report.server_share.unwrap_or_default())?.median * 100.0,
        share(|report| report.generator_share)?.median * 100.0,
    ))
}

fn idle_row(measured: &Measured, kind: Kind) -> Option<String> {
    let Figure {
        median,
        least,
        most,
    } = measured.cost(kind)?;
    Some(format!(
        "| {} | {median:.0} ({least:.0} to {most:.0}) | {:.0} | {} | {:.1} |\n",
        kind.title(),
        measured.idle(kind, |report| report.pss_each)?.median,
        ratio(measured, kind, Kind::Bun),
        measured
            .idle(kind, |report| report.before.rss as f64 / 1e6)?
            .median,
    ))
}

fn ratio(measured: &Measured, kind: Kind, to: Kind) -> String {
    measured
        .ratio(kind, to)
        .map(|ratio| format!("{ratio:.2}x"))
        .unwrap_or_default()
}

/// For each server, in how many runs which warning was given.
fn warnings(measured: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, outcomes) in &measured.servers {
        let count =
            |warned: fn(&Outcome) -> bool| outcomes.iter().filter(|run| warned(run)).count();
        let busy =
            count(|run| matches!(run, Outcome::Load(report) if report.generator_share > BUSY));
        let disturbed = count(Outcome::disturbed);
        for (runs, warning) in [
            (
                busy,
                "the generator was as busy as it can be, and may be what limits the rate",
            ),
            (
                disturbed,
                "**disturbed** by other processes on the generator's core",
            ),
        ] {
            if runs > 0 {
                lines.push(format!(
                    "- {}, {runs} of {}: {warning}",
                    kind.title(),
                    outcomes.len()
                ));
            }
        }
    }
    lines
}
