//! Has one socket join a million rooms, then rooms whose names are a MiB long.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct RoomBomb;

#[tulpar::namespace(path = "/room-bomb")]
impl Namespace for RoomBomb {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let joined = (0..1_000_000)
                .take_while(|number| ws.subscribe(&format!("room {number}")).is_ok())
                .count();
            let long = "x".repeat(1 << 20);
            // Each is another name. That they are refused must not cost more than it costs to ask.
            let long_joined = (0..8)
                .filter(|number| ws.subscribe(&format!("{number}{long}")).is_ok())
                .count();
            return tell(ws, format!("{joined} rooms, {long_joined} with long names"));
        }
        ws.send(message)
    }
}
