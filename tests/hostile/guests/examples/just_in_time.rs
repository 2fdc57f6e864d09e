//! Computes for a little less than its deadline, and so is never stopped.

use std::hint::spin_loop;

use tulpar::prelude::*;
use tulpar_hostile_guests::{burst, is_attack, tell};

#[derive(Default)]
struct JustInTime;

#[tulpar::namespace(path = "/just-in-time")]
impl Namespace for JustInTime {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            burst(|_| {
                spin_loop();
                true
            });
            return tell(ws, "not stopped");
        }
        ws.send(message)
    }
}
