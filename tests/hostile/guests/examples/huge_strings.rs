//! Hands strings of tens of MiB to every function that takes one.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct HugeStrings;

#[tulpar::namespace(path = "/huge-strings")]
impl Namespace for HugeStrings {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let huge = "x".repeat(24 << 20);
            let huge = huge.as_str();
            let mut accepted = Vec::new();
            let mut note = |name, is_accepted: bool| {
                if is_accepted {
                    accepted.push(name);
                }
            };
            note("subscribe", ws.subscribe(huge).is_ok());
            note("is-subscribed", ws.is_subscribed(huge));
            note("publish", ws.publish(huge, "x").is_ok());
            note("send", ws.send(huge).is_ok());
            note("set-values", ws.set_data(huge).is_ok());
            note("get", sockets::get::<()>(huge).is_some());
            note("members", !rooms::members(huge).is_empty());
            note("to", rooms::to("nobody", huge).is_ok());
            note("ulak broadcast", ulak::broadcast(huge, huge).is_ok());
            note("ulak to", ulak::to("/huge-strings", huge, huge).is_ok());
            note("has-namespace", ulak::has_namespace(huge));
            note(
                "config",
                config::get(huge).is_ok_and(|value| value.is_some()),
            );
            note("kv open", kv::open(huge).is_ok());
            if let Ok(bucket) = kv::open("bucket") {
                note("kv key", bucket.set(huge, "x").is_ok());
                note("kv value", bucket.set("x", huge).is_ok());
            }
            // It is cut, which is no failure.
            log::info(huge);
            return tell(ws, format!("accepted: {accepted:?}"));
        }
        ws.send(message)
    }
}
