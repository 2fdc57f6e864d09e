//! A plugin is replaced again and again while sockets chat: nothing may be lost, repeated or reordered, nobody be told to
//! go, and the server may not grow. `make soak-swaps` runs it with its defaults: 10,000 swaps and 1,000 sockets.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};
use tulpar_tests::{Client, Mould, Server, Value, connect};

/// How long a socket rests between two messages.
const REST: Duration = Duration::from_millis(400);

fn generation(number: u32) -> Vec<u8> {
    Mould::reloaded("/swap", &number.to_string()).bytes()
}

/// What a socket has seen.
#[derive(Default)]
struct Seen {
    messages: u64,
    reloads: u64,
}

/// Takes the next message: the answer to `expected`, or the news of a swap.
async fn take(client: &mut Client, seen: &mut Seen, last: &mut Option<String>) -> Option<String> {
    let message: Value = client.recv_json().await;
    let generation = |key: &str| message[key].as_str().map(str::to_owned);
    if let Some(new) = generation("reloaded") {
        assert_ne!(
            last.as_ref(),
            Some(&new),
            "a swap was told twice, or one was not told"
        );
        *last = Some(new);
        seen.reloads += 1;
        return None;
    }
    if let (Some(last), Some(answered)) = (&last, generation("generation")) {
        assert_eq!(
            *last, answered,
            "an answer of another generation than the last told"
        );
    }
    Some(
        message["text"]
            .as_str()
            .expect("it answers with the text")
            .to_owned(),
    )
}

/// Chats until it is told to stop, then takes what still comes.
async fn chat(mut client: Client, number: usize, stop: Rc<Cell<bool>>) -> Seen {
    let mut seen = Seen::default();
    let mut last = None;
    // Not all at once.
    tokio::time::sleep(REST * u32::try_from(number % 100).unwrap_or(0) / 100).await;
    let mut count = 0_u64;
    loop {
        let ending = stop.get();
        let text = format!("{number}:{count}");
        client.send(text.as_str()).await;
        loop {
            match take(&mut client, &mut seen, &mut last).await {
                None => {}
                Some(answer) => break assert_eq!(answer, text),
            }
        }
        seen.messages += 1;
        count += 1;
        if ending {
            return seen;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn soak(swaps: u64, sockets: usize) -> bool {
    let server = Server::with(&[])
        .file("swap.wasm", &generation(1))
        .config("[timeouts]\nsettle-ms = 1")
        .env("TULPAR_LOG", "warn")
        .start();
    let stop = Rc::new(Cell::new(false));
    let mut chats = JoinSet::new();
    for number in 0..sockets {
        let mut client = connect(server.url("/swap")).await;
        // It is in the namespace when it has its first answer.
        client.send("here").await;
        client.recv().await;
        chats.spawn_local(chat(client, number, stop.clone()));
    }
    let mut observer = connect(server.url("/swap")).await;
    observer.send("here").await;
    observer.recv().await;
    let files = [generation(1), generation(2)];
    let (begun, mut before) = (Instant::now(), 0);
    for swap in 1..=swaps {
        server.drop_in("swap.wasm", &files[usize::try_from(swap % 2).unwrap_or(0)]);
        let told = observer.recv_json().await;
        assert!(told["reloaded"].is_string(), "{told}");
        if swap == swaps / 10 {
            before = server.resident_bytes();
        }
        if swap % (swaps / 10).max(1) == 0 {
            println!(
                "{swap} swaps in {:.0} s, {} MiB",
                begun.elapsed().as_secs_f64(),
                server.resident_bytes() >> 20
            );
        }
    }
    stop.set(true);
    let mut all = Seen::default();
    let mut missed = 0;
    while let Some(seen) = chats.join_next().await {
        let seen = seen.expect("the socket saw nothing that may not be");
        all.messages += seen.messages;
        missed += u64::from(seen.reloads != swaps);
        all.reloads += seen.reloads;
    }
    let grown = server.resident_bytes().saturating_sub(before) >> 20;
    println!(
        "{swaps} swaps under {sockets} sockets in {:.0} s: {} messages answered in order, {} told of swaps, {missed} \
         sockets not told of each, {grown} MiB more than after the first tenth; {}",
        begun.elapsed().as_secs_f64(),
        all.messages,
        all.reloads,
        match server.stderr.text() {
            log if log.is_empty() => "no warnings".to_owned(),
            log => log,
        }
    );
    missed == 0 && grown < 16
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let mut number = |default| match args.next() {
        None => Some(default),
        Some(number) => number.ok(),
    };
    let (Some(swaps), Some(sockets)) = (number(10_000), number(1_000)) else {
        eprintln!("swap-soak [SWAPS [SOCKETS]]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    let well = LocalSet::new().block_on(
        &runtime,
        soak(swaps, usize::try_from(sockets).unwrap_or(usize::MAX)),
    );
    match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
