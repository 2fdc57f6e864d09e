//! Obeys commands, and hears when a slow peer has got all; see `tulpar_test_guests::commands`.

use tulpar::prelude::*;
use tulpar_test_guests::commands::{Commanded, Peer};

#[derive(Default)]
struct Drained(Commanded);

#[tulpar::namespace(path = "/drained")]
impl Namespace for Drained {
    type Data = tulpar_test_guests::Value;

    fn on_open(&mut self, ws: &Peer) -> Result<()> {
        self.0.on_open(ws)
    }

    fn on_message(&mut self, ws: &Peer, message: Message) -> Result<()> {
        self.0.on_message(ws, message)
    }

    fn on_drain(&mut self, ws: &Peer) -> Result<()> {
        self.0.on_drain(ws)
    }

    fn on_close(&mut self, ws: &Peer, event: CloseEvent) -> Result<()> {
        self.0.on_close(ws, event)
    }
}
