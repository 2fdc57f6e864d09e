//! Sends each message back as it came, text as text and binary as binary.

use tulpar::prelude::*;

#[derive(Default)]
struct Echo;

#[tulpar::namespace(path = "/echo", name = "EchoSocket")]
impl Namespace for Echo {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        ws.send(message)
    }
}
