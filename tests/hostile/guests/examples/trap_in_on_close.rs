//! Serves well, and traps when a socket has closed.

use tulpar::prelude::*;

#[derive(Default)]
struct TrapInOnClose;

#[tulpar::namespace(path = "/trap-in-on-close")]
impl Namespace for TrapInOnClose {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        ws.subscribe("all")
    }

    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if message.as_text() == Some("members") {
            return ws.send(rooms::count("all").to_string());
        }
        ws.send(message)
    }

    fn on_close(&mut self, _ws: &Socket<()>, _event: CloseEvent) -> Result<()> {
        panic!("trapped in on-close");
    }
}
