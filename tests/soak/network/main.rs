//! A server on a bad day, for as long as wanted: rooms full of sockets that chat, others that come and go by the
//! thousand, are reset, or do not read. `make soak` runs it for ten minutes.
//!
//! Those who chat may lose nothing. The server's memory and descriptors are looked at each second, and drawn: neither
//! may grow, and in the end all is given back.

mod chat;
mod churn;
mod plot;
mod slow;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;
use tulpar_tests::{Server, connect, eventually, json, workspace};

use self::chat::Chat;
use self::churn::Churn;

/// How long it goes on when nobody says so.
const MINUTES: f64 = 10.0;
/// Connections that come in each second in the beginning, for a minute or a fifth of the time; then a tenth of that.
const RATE: f64 = 10_000.0;
/// What the server may grow by between the second fifth of the time and the last one.
const MAY_GROW: u64 = 16 << 20;

/// What the server holds at some time.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    resident_bytes: u64,
    descriptors: usize,
}

/// Lets the server have a bad day. Returns whether it was none for those who chat.
async fn soak(minutes: f64) -> bool {
    let length = Duration::from_secs_f64(minutes * 60.0);
    let server = Server::with(&["commander"])
        .env("TULPAR_LOG", "warn")
        .start();
    let mut client = connect(server.url("/commander")).await;
    client.ask(json!({ "do": "nothing" })).await;
    let before = server.descriptors();
    // Who says nothing for minutes and reads nothing is taken for gone.
    drop(client);

    let chat = Chat::begin(&server).await;
    let churn = Churn::begin(
        server.address(),
        RATE,
        (length / 5).min(Duration::from_secs(60)),
    );
    let slow = slow::begin(&server);
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sample = Sample {
            seconds: begun.elapsed().as_secs_f64(),
            resident_bytes: server.resident_bytes(),
            descriptors: server.descriptors(),
        };
        if samples.len() % 30 == 0 {
            println!(
                "{:>5.0} s: {} MiB, {} descriptors",
                sample.seconds,
                sample.resident_bytes >> 20,
                sample.descriptors
            );
        }
        samples.push(sample);
    }
    slow.abort();
    drop(slow.await);
    let churned = churn.end();
    let chatted = chat.end().await;

    let mut client = connect(server.url("/commander")).await;
    eventually("the descriptors to be back", async || {
        (server.descriptors() <= before).then_some(())
    })
    .await;
    let left = client.ask(json!({ "do": "ids" })).await;
    let left = left.as_array().map_or(0, Vec::len);
    let file = workspace().join("target/soak.svg");
    fs::write(&file, plot::draw(&samples)).expect("the plot can be written");

    let grown = grown(&samples);
    let log = server.stderr.text();
    println!("chat: {chatted}\nchurn: {churned}");
    println!(
        "memory: {:+.1} MiB from the second fifth of the time to the last; {} sockets left of 1; {}",
        grown as f64 / f64::from(1 << 20),
        left,
        file.display()
    );
    println!(
        "log: {}",
        match log.lines().count() {
            0 => "nothing".to_owned(),
            count => format!("{count} lines, which begin:\n{}", beginning(&log)),
        }
    );
    grown < MAY_GROW as i64 && left == 1 && !log.contains("panicked")
}

/// By how many bytes the server is larger in the last fifth of the time than in the second, by the medians.
fn grown(samples: &[Sample]) -> i64 {
    let fifth = samples.len() / 5;
    let median = |samples: &[Sample]| {
        let mut sizes: Vec<_> = samples.iter().map(|it| it.resident_bytes).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).map_or(0, |size| *size as i64)
    };
    median(&samples[4 * fifth..]) - median(&samples[fifth..2 * fifth])
}

fn beginning(log: &str) -> String {
    log.lines().take(10).collect::<Vec<_>>().join("\n")
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let minutes = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(MINUTES),
        ["--minutes", minutes] => minutes.parse().ok().filter(|minutes| *minutes > 0.0),
        _ => None,
    };
    let Some(minutes) = minutes else {
        eprintln!("soak [--minutes MINUTES]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    match LocalSet::new().block_on(&runtime, soak(minutes)) {
        true => ExitCode::SUCCESS,
        false => {
            println!("NOT WELL");
            ExitCode::FAILURE
        }
    }
}
