//! Loops for ever.

use std::hint::spin_loop;

use tulpar::prelude::*;
use tulpar_hostile_guests::is_attack;

#[derive(Default)]
struct EndlessLoop;

#[tulpar::namespace(path = "/endless-loop")]
impl Namespace for EndlessLoop {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            loop {
                spin_loop();
            }
        }
        ws.send(message)
    }
}
