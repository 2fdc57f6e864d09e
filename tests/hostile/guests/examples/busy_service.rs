//! A service that has a schedule every 10 ms and loops for ever in each, beside a namespace that echoes.

use std::hint::spin_loop;

use tulpar::prelude::*;

#[derive(Default)]
struct Busy;

#[tulpar::service(name = "Busy")]
impl Busy {
    #[every("10ms")]
    fn spin(&mut self) -> Result<()> {
        loop {
            spin_loop();
        }
    }
}

#[derive(Default)]
struct Beside;

#[tulpar::namespace(path = "/busy-service")]
impl Namespace for Beside {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        ws.send(message)
    }
}
