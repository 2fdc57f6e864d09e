//! Takes handles and lets none of them go: of its own socket, or of a bucket when told so.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct HandleBomb {
    hoard: Vec<Socket<()>>,
}

#[tulpar::namespace(path = "/handle-bomb")]
impl Namespace for HandleBomb {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let id = ws.id();
            while self.hoard.len() < 10_000_000 {
                self.hoard.extend(sockets::get(&id));
            }
            return tell(ws, format!("{} handles", self.hoard.len()));
        }
        if message.as_text() == Some("buckets") {
            for _ in 0..10_000_000 {
                std::mem::forget(kv::open("bucket")?);
            }
            return tell(ws, "all handles");
        }
        ws.send(message)
    }
}
