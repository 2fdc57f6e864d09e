//! Has every socket join as many rooms as it may, with the longest names there may be, so that the namespace has as many
//! as it may; then joins and leaves for ever.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct SubscriptionBomb;

#[tulpar::namespace(path = "/subscription-bomb")]
impl Namespace for SubscriptionBomb {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            // A name is at most 256 bytes; the id makes it this socket's own.
            let id = ws.id();
            let joined = (0..10_000)
                .take_while(|number| {
                    let name = format!("{id}/{number}/");
                    ws.subscribe(&format!("{name:x<256}")).is_ok()
                })
                .count();
            return tell(ws, format!("{joined} rooms"));
        }
        if message.as_text() == Some("churn") {
            loop {
                ws.unsubscribe("revolving door");
                drop(ws.subscribe("revolving door"));
            }
        }
        ws.send(message)
    }
}
