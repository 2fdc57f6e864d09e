//! A middleware that never decides, in front of a namespace that echoes. Without the query `attack` it lets pass.

use std::hint::spin_loop;

use tulpar::prelude::*;
use tulpar_hostile_guests::ATTACK;

#[derive(Default)]
struct Hanging;

#[tulpar::middleware(name = "hanging")]
impl Middleware for Hanging {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        if cx.query(ATTACK).is_some() {
            loop {
                spin_loop();
            }
        }
        Ok(Verdict::Next)
    }
}

#[derive(Default)]
struct Behind;

#[tulpar::namespace(path = "/hanging-middleware", middlewares = ["hanging"])]
impl Namespace for Behind {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        ws.send(message)
    }
}
