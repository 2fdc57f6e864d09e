//! One room for everybody: each message goes to every member, the sender included.

use tulpar::prelude::*;

const ROOM: &str = "room";

#[derive(Default)]
struct Room;

#[tulpar::namespace(path = "/room", name = "RoomSocket")]
impl Namespace for Room {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        ws.subscribe(ROOM)
    }

    fn on_message(&mut self, _ws: &Socket<()>, message: Message) -> Result<()> {
        rooms::to(ROOM, message)?;
        Ok(())
    }
}
