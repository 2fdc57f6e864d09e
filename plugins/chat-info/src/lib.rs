//! Tells whoever asks how many are in the room, on all nodes.

use tulpar::prelude::*;

const ROOM: &str = "general";

#[derive(Default)]
struct ChatInfo;

#[tulpar::namespace(path = "/chat-info", name = "ChatInfoSocket")]
impl Namespace for ChatInfo {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        ws.subscribe(ROOM)
    }

    fn on_message(&mut self, ws: &Socket<()>, _message: Message) -> Result<()> {
        ws.send(Json(
            json!({ "type": "room_info", "totalUsers": cluster::room_count(ROOM).count }),
        ))
    }
}
