//! Publishes for as long as a call may take to a room that every socket is in, whether or not its peer reads.

use tulpar::prelude::*;
use tulpar_hostile_guests::{burst, is_attack, tell};

#[derive(Default)]
struct PublishStorm;

#[tulpar::namespace(path = "/publish-storm")]
impl Namespace for PublishStorm {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        ws.subscribe("storm")
    }

    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let payload = vec![7_u8; 1000];
            let mut refusal = None;
            burst(|_| {
                refusal = ws.publish("storm", &payload).err();
                refusal.is_none()
            });
            let ended = refusal.map_or("not stopped".to_owned(), |error| error.to_string());
            return tell(ws, ended);
        }
        ws.send(message)
    }
}
