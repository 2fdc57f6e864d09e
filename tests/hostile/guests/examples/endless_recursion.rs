//! Calls itself for ever.

use std::hint::black_box;

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct EndlessRecursion;

#[tulpar::namespace(path = "/endless-recursion")]
impl Namespace for EndlessRecursion {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            return tell(ws, recurse(0));
        }
        ws.send(message)
    }
}

#[allow(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    recurse(depth + 1) + black_box(frame)[0]
}
