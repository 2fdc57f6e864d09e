//! Not hostile: the plugin of the tenant next door. It echoes, passes on to its room what begins with `r`, and tells a
//! socket its id.

use tulpar::prelude::*;

const ROOM: &str = "hall";

#[derive(Default)]
struct Neighbour;

#[tulpar::namespace(path = "/echo", name = "Neighbour")]
impl Namespace for Neighbour {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        ws.subscribe(ROOM)
    }

    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        match message.as_text() {
            Some("id") => ws.send(ws.id()),
            Some(text) if text.starts_with('r') => rooms::to(ROOM, &message).map(drop),
            _ => ws.send(message),
        }
    }
}
