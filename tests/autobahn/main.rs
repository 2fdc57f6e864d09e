//! The server before the Autobahn test suite's fuzzing client, which knows RFC 6455 case by case.
//!
//! `make autobahn` runs it. It fails when a case does, or when one is missing. Where the suite cannot be had it says so,
//! loudly, and fails nothing: the cases that matter are in `suites/frames.rs` too.

mod suite;
mod verdict;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use tulpar_tests::{Server, json, workspace};

use self::suite::Suite;
use self::verdict::Verdict;

const USAGE: &str = "autobahn [--compression] [CASE...]

--compression  the cases of permessage-deflate too, 12.* and 13.*
CASE           only these, such as 6.4.1 or 9.*";

/// The cases that need no extension, and how many these are in version 25.10.1.
const CORE: &[&str] = &[
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*",
];
const CORE_COUNT: usize = 301;
/// Those of permessage-deflate.
const COMPRESSION: &[&str] = &["12.*", "13.*"];
const COMPRESSION_COUNT: usize = 216;

struct Args {
    compression: bool,
    cases: Vec<String>,
}

impl Args {
    fn parse(args: impl Iterator<Item = String>) -> Option<Self> {
        let (flags, cases): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with('-'));
        let known = flags.iter().all(|flag| flag == "--compression");
        known.then_some(Self {
            compression: !flags.is_empty(),
            cases,
        })
    }

    /// The cases, and how many they are; none when somebody has chosen some.
    fn selected(&self) -> (Vec<&str>, Option<usize>) {
        if !self.cases.is_empty() {
            return (self.cases.iter().map(String::as_str).collect(), None);
        }
        match self.compression {
            true => (
                [CORE, COMPRESSION].concat(),
                Some(CORE_COUNT + COMPRESSION_COUNT),
            ),
            false => (CORE.to_vec(), Some(CORE_COUNT)),
        }
    }
}

fn main() -> ExitCode {
    let Some(args) = Args::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let folder = workspace().join("target/autobahn");
    match Suite::in_folder(&folder.join("suite")) {
        Ok(suite) => match run(&suite, &args) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Err(why) => {
            println!(
                "SKIPPED: the Autobahn test suite did not run, and nothing is shown by it.\n{why}"
            );
            ExitCode::SUCCESS
        }
    }
}

/// Runs the cases. Returns whether all are good.
fn run(suite: &Suite, args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let folder = workspace().join("target/autobahn");
    let report = folder.join("report");
    drop(fs::remove_dir_all(&report));
    fs::create_dir_all(&report)?;
    let mut server = Server::with(&["echo"]).env("TULPAR_LOG", "warn");
    if args.compression {
        server = server.config("[sockets]\ncompression = true\ncompression-threshold = 0");
    }
    let server = server.start();
    let (cases, count) = args.selected();
    let spec = folder.join("spec.json");
    let said = json!({
        "servers": [{ "agent": "Tulpar", "url": server.url("/echo") }],
        "outdir": report,
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    fs::write(&spec, said.to_string())?;
    println!("Running the cases {}.", cases.join(", "));
    let begun = Instant::now();
    suite.run(&spec, &folder.join("wstest.log"))?;

    let index = fs::read(report.join("index.json"))?;
    let verdict = Verdict::read(&serde_json::from_slice(&index)?);
    let verdict = verdict.ok_or("the suite's index.json is not understood")?;
    print!("{verdict}");
    let log = server.stderr.text();
    let is_complete = count.is_none_or(|count| verdict.cases() == count);
    let is_good = is_complete && verdict.is_good() && log.is_empty();
    println!(
        "{} cases in {:.0} s: {}; the report is {}",
        verdict.cases(),
        begun.elapsed().as_secs_f64(),
        match (is_good, is_complete) {
            (true, _) => "well",
            (false, true) => "NOT WELL",
            (false, false) => "NOT ALL THAT THERE SHOULD BE",
        },
        report.join("index.html").display()
    );
    print!("{log}");
    Ok(is_good)
}
