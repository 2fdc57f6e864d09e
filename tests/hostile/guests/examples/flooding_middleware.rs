//! A middleware that calls the functions of its context for ever, in front of a namespace that echoes. Without the query
//! `attack` it lets pass.

use tulpar::prelude::*;
use tulpar_hostile_guests::ATTACK;

#[derive(Default)]
struct Flooding;

#[tulpar::middleware(name = "flooding")]
impl Middleware for Flooding {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        if cx.query(ATTACK).is_some() {
            let value = "x".repeat(60 << 10);
            for number in 0_u64.. {
                cx.headers();
                drop(cx.set_web_socket_value(&value));
                drop(cx.set(&number.to_string(), &value));
                drop(cx.set_response_header(&format!("x-{number}"), &value));
            }
        }
        Ok(Verdict::Next)
    }
}

#[derive(Default)]
struct Behind;

#[tulpar::namespace(path = "/flooding-middleware", middlewares = ["flooding"])]
impl Namespace for Behind {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        ws.send(message)
    }
}
