//! The restless: connections that come and go, in each way and at each moment, as many a second as wanted.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tulpar_tests::{Opcode, Raw, frame};

use crate::way::{Waiting, Way};

/// How many threads make them, each so many of them.
const THREADS: u32 = 2;
/// How many connections share one look at the clock.
const BATCH: u32 = 20;
/// What could not be made in time is made up for within this time, or not at all.
const BEHIND: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Default)]
pub struct Churned {
    /// What was made while there were many a second, and how long that took.
    flood: (u64, Duration),
    made: u64,
    failed: u64,
}

impl fmt::Display for Churned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, time) = self.flood;
        write!(
            out,
            "{} connections, {} of which went wrong; {:.0} a second for {:.0?}",
            self.made,
            self.failed,
            count as f64 / time.as_secs_f64(),
            time
        )
    }
}

/// All of them, on threads of their own.
pub struct Churn {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Churned>>,
}

impl Churn {
    /// Begins with so many a second for so long; then it is a tenth of that.
    pub fn begin(way: &Way, rate: f64, flood: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rate = rate / f64::from(THREADS);
        let thread = |_| {
            let (way, stopped) = (way.clone(), Arc::clone(&stop));
            thread::spawn(move || churn(&way, rate, flood, &stopped))
        };
        let threads = (0..THREADS).map(thread).collect();
        Self { stop, threads }
    }

    /// Makes no more.
    pub fn end(self) -> Churned {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Churned::default();
        for thread in self.threads {
            let churned = thread.join().expect("the thread does not panic");
            all.flood.0 += churned.flood.0;
            all.flood.1 = all.flood.1.max(churned.flood.1);
            all.made += churned.made;
            all.failed += churned.failed;
        }
        all
    }
}

fn churn(way: &Way, rate: f64, flood: Duration, stop: &AtomicBool) -> Churned {
    let mut churned = Churned::default();
    let begun = Instant::now();
    let mut due = begun;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BATCH {
            if let Err(error) = come_and_go(way, churned.made) {
                churned.failed += 1;
                assert!(churned.failed < 1000, "connections go wrong: {error}");
            }
            churned.made += 1;
        }
        let passed = begun.elapsed();
        let now_rate = if passed < flood {
            churned.flood = (churned.made, passed);
            rate
        } else {
            rate / 10.0
        };
        let next = due + Duration::from_secs_f64(f64::from(BATCH) / now_rate);
        due = next.max((begun + passed).checked_sub(BEHIND).unwrap_or(begun));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    churned
}

/// One connection. Most do nothing; the others each something else.
fn come_and_go(way: &Way, number: u64) -> io::Result<()> {
    let mut stream = way.waiting()?;
    let request = Raw::upgrade_request("/commander");
    let hello = frame(Opcode::Text, b"hello").bytes();
    match number % 32 {
        1 => stream.reset()?,
        3 => stream.write_all(&request[..request.len() / 2])?,
        5 => {
            stream.write_all(&request)?;
            stream.reset()?;
        }
        7 => {
            upgrade(&mut stream, &request)?;
            stream.reset()?;
        }
        9 => {
            upgrade(&mut stream, &request)?;
            stream.write_all(&hello[..4])?;
            stream.reset()?;
        }
        11 => {
            upgrade(&mut stream, &request)?;
            stream.write_all(&hello)?;
            expect(&mut stream, b"\x81\x05hello")?;
            stream.write_all(&frame(Opcode::Close, b"\x03\xe8").bytes())?;
            expect(&mut stream, b"\x88\x02\x03\xe8")?;
        }
        13 => {
            upgrade(&mut stream, &request)?;
            stream.write_all(&hello)?;
        }
        15 => {
            stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            expect(&mut stream, b"HTTP/1.1 404 ")?;
        }
        17 => {
            stream.write_all(b"nonsense\r\n\r\n")?;
            expect(&mut stream, b"HTTP/1.1 400 ")?;
        }
        19 => {
            upgrade(&mut stream, &request)?;
            // Not masked, which is refused.
            stream.write_all(b"\x81\x02hi")?;
            expect(&mut stream, b"\x88")?;
        }
        n if n % 4 == 0 => stream.reset()?,
        _ => (),
    }
    Ok(())
}

fn upgrade(stream: &mut Waiting, request: &[u8]) -> io::Result<()> {
    stream.write_all(request)?;
    expect(stream, b"HTTP/1.1 101 ")?;
    let mut end = [0; 4];
    while &end != b"\r\n\r\n" {
        end.rotate_left(1);
        stream.read_exact(&mut end[3..])?;
    }
    Ok(())
}

fn expect(stream: &mut Waiting, expected: &[u8]) -> io::Result<()> {
    let mut came = vec![0; expected.len()];
    stream.read_exact(&mut came)?;
    if came == expected {
        return Ok(());
    }
    let came = String::from_utf8_lossy(&came).into_owned();
    Err(io::Error::new(ErrorKind::InvalidData, came))
}
