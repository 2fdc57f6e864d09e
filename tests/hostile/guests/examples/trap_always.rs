//! Traps on every call.

use tulpar::prelude::*;

#[derive(Default)]
struct TrapAlways;

#[tulpar::namespace(path = "/trap-always")]
impl Namespace for TrapAlways {
    fn on_open(&mut self, _ws: &Socket<()>) -> Result<()> {
        panic!("trapped in on-open");
    }

    fn on_message(&mut self, _ws: &Socket<()>, _message: Message) -> Result<()> {
        panic!("trapped in on-message");
    }

    fn on_close(&mut self, _ws: &Socket<()>, _event: CloseEvent) -> Result<()> {
        panic!("trapped in on-close");
    }
}
