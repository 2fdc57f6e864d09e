//! A good namespace, but that it would open connections of its own.

use std::net::TcpStream;

use tulpar::prelude::*;

#[derive(Default)]
struct Caller;

#[tulpar::namespace(path = "/caller")]
impl Namespace for Caller {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        let outcome = TcpStream::connect(message.to_string());
        ws.send(format!("{outcome:?}"))
    }
}
