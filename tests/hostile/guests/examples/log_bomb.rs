//! Writes to the log for as long as a call may take: lines as long as may be, by the log's own function and by what it
//! prints.

use tulpar::prelude::*;
use tulpar_hostile_guests::{burst, is_attack, tell};

#[derive(Default)]
struct LogBomb;

#[tulpar::namespace(path = "/log-bomb")]
impl Namespace for LogBomb {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let long = "x".repeat(8 << 10);
            burst(|_| {
                log::error(&long);
                log::info("short");
                println!("{long}");
                eprintln!("short");
                true
            });
            return tell(ws, "not stopped");
        }
        ws.send(message)
    }
}
