//! Runs the gauntlet and prints its table. It ends with 1 when a row is red.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tulpar_hostile::{Outcome, Pace, Verdict, markdown, plain, rows, run_until_clear};

/// Runs hostile plugins one by one, each beside a healthy neighbour under load.
///
/// The neighbour is measured alone, under the attack and alone again. A row is red when the attacker's outcome is not
/// the promised one, when the neighbour lost a message or got one out of order, when its p99 is over twice its p99 alone
/// and 2 ms over it, or when the server's memory does not come back.
#[derive(Parser)]
struct Args {
    /// Run the rows alone whose names contain this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Seconds for each of the three measurements of a row.
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    seconds: f64,

    /// Tenants that attack at once with the same plugin, 1 to 4. The promise is about one; more show how much a machine
    /// takes whose cores are all wanted.
    #[arg(long, value_name = "N", default_value_t = 1)]
    attackers: usize,

    /// Runs of a row at most, when its times are over their bound or the machine is too noisy to tell.
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: u32,

    /// Write the table to this file too, as Markdown.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print the names of the rows, and run none.
    #[arg(long)]
    list: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let is_chosen =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part));
    let rows: Vec<_> = rows()
        .into_iter()
        .filter(|row| is_chosen(&row.name))
        .collect();
    if args.list {
        rows.iter().for_each(|row| println!("{}", row.name));
        return ExitCode::SUCCESS;
    }
    // What an attack fails with stands in its row.
    std::panic::set_hook(Box::new(|_| ()));
    let pace = Pace::measured(
        Duration::from_secs_f64(args.seconds.max(0.2)),
        args.attackers,
    );
    let mut outcomes = Vec::new();
    for row in &rows {
        let outcome = run_until_clear(row, pace, args.runs).await;
        println!("{}", plain(&outcome));
        outcomes.push(outcome);
    }
    let table = markdown(&outcomes);
    println!("\n{table}");
    if let Some(file) = &args.out
        && let Err(error) = std::fs::write(file, &table)
    {
        eprintln!("{} cannot be written: {error}", file.display());
        return ExitCode::from(2);
    }
    let count = |verdict| {
        outcomes
            .iter()
            .filter(|row: &&Outcome| row.verdict() == verdict)
            .count()
    };
    let [held, red, noisy] = [Verdict::Held, Verdict::Red, Verdict::Noisy].map(count);
    println!(
        "{held} rows held, {red} are red, {noisy} could not be judged because the machine is busy"
    );
    if red == 0 && !outcomes.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
