//! A server on a bad day, for as long as wanted: rooms full of sockets that chat, others that come and go by the
//! thousand, are reset, or do not read. `make soak` runs it for ten minutes.
//!
//! Those who chat may lose nothing. The server's memory and descriptors are looked at each second, and drawn: neither
//! may grow, and in the end all is given back. With `--tls` connections are encrypted, with `--compression` every other
//! one that chats compresses.

mod chat;
mod churn;
mod plot;
mod slow;
mod way;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;
use tulpar_tests::{Certificate, Server, eventually, json, workspace};

use self::chat::Chat;
use self::churn::Churn;
use self::way::Way;

/// How long it goes on when nobody says so.
const MINUTES: f64 = 10.0;
/// Connections that come in each second in the beginning, for a minute or a fifth of the time; then a tenth of that.
const RATE: f64 = 10_000.0;
/// What the server may grow by between the second fifth of the time and the last one.
const MAY_GROW: u64 = 16 << 20;

/// What was asked for.
struct Wanted {
    minutes: f64,
    tls: bool,
    compression: bool,
}

impl Wanted {
    /// By the command line; none when it says something else.
    fn from(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self {
            minutes: MINUTES,
            tls: false,
            compression: false,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => wanted.minutes = args.next()?.parse().ok()?,
                "--tls" => wanted.tls = true,
                "--compression" => wanted.compression = true,
                _ => return None,
            }
        }
        (wanted.minutes > 0.0).then_some(wanted)
    }
}

/// What the server holds at some time.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    resident_bytes: u64,
    descriptors: usize,
}

/// Lets the server have a bad day. Returns whether it was none for those who chat.
async fn soak(wanted: &Wanted) -> bool {
    let length = Duration::from_secs_f64(wanted.minutes * 60.0);
    let certificate = wanted.tls.then(Certificate::new);
    let tls = certificate.as_ref().map(Certificate::config);
    let compression = format!("[sockets]\ncompression = {}\n", wanted.compression);
    let server = Server::with(&["commander"])
        .config(&(tls.unwrap_or_default() + &compression))
        .env("TULPAR_LOG", "warn")
        // As it is by default.
        .env("TULPAR_TIMEOUTS_PING_MS", "30000")
        .start();
    let way = Way {
        address: server.address(),
        trust: certificate.as_ref().map(Certificate::trust),
        compression: wanted.compression,
    };
    let mut client = way.talker(0).await;
    client.ask(json!({ "do": "nothing" })).await;
    let before = server.descriptors();
    // Who says nothing for minutes and reads nothing is taken for gone.
    drop(client);

    let chat = Chat::begin(&way).await;
    let churn = Churn::begin(&way, RATE, (length / 5).min(Duration::from_secs(60)));
    let slow = slow::begin(&way);
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

    let mut client = way.talker(0).await;
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
    let Some(wanted) = Wanted::from(std::env::args().skip(1)) else {
        eprintln!("soak [--minutes MINUTES] [--tls] [--compression]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    match LocalSet::new().block_on(&runtime, soak(&wanted)) {
        true => ExitCode::SUCCESS,
        false => {
            println!("NOT WELL");
            ExitCode::FAILURE
        }
    }
}
