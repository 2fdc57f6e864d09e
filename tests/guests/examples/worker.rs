//! A service that does at its times what its configuration says, and tells `/commander` of it.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use tulpar::prelude::*;

const OBSERVERS: Ulak<'static> = ulak("/commander");

#[derive(Default)]
struct Worker {
    /// Whether on_start ran in this instance.
    started: bool,
    runs: u64,
}

#[tulpar::service(name = "Worker")]
impl Worker {
    fn on_start(&mut self) -> Result<()> {
        kv::open("worker")?.increment("starts", 1)?;
        log::info(format!("starts beside {}", ulak::namespaces().join(" ")));
        match config::get("start")?.as_deref() {
            Some("fail") => return Err(Error::msg("told not to start")),
            Some("slow") => be_busy(Duration::from_millis(500)),
            Some(url) if url.starts_with("https://") => drop(fetch::get(url)?),
            _ => {}
        }
        self.started = true;
        Ok(())
    }

    #[every("20ms")]
    fn tick(&mut self) -> Result<()> {
        self.runs += 1;
        let number = kv::open("worker")?.increment("ticks", 1)?;
        tell(
            json!({ "event": "tick", "number": number, "runs": self.runs, "started": self.started }),
        )?;
        match config::get("tick")?.as_deref() {
            Some("fail") => return Err(Error::msg("told to fail\nINFO a line of its own")),
            Some("panic") => panic!("told to panic"),
            Some("loop") => loop {
                spin_loop();
            },
            Some(slow) if slow.starts_with("slow ") => {
                be_busy(Duration::from_millis(slow["slow ".len()..].parse()?));
            }
            Some(url) if url.starts_with("https://") => drop(fetch::get(url)?),
            _ => {}
        }
        tell(json!({ "event": "tock", "number": number }))
    }

    #[cron("* * * * * *")]
    fn each_second(&mut self) -> Result<()> {
        tell(json!({ "event": "second", "at": tulpar::timestamp() }))
    }

    fn on_stop(&mut self) {
        log::info("stops");
        // A service that cannot write its last words has nobody to tell.
        let _ = kv::open("worker").and_then(|bucket| bucket.increment("stops", 1));
    }
}

fn tell(event: tulpar::Value) -> Result<()> {
    OBSERVERS.to("observers", Json(event))?;
    Ok(())
}

fn be_busy(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        spin_loop();
    }
}
