//! Welcomes whoever connects to /crate-name, and tells everybody there what one of them says.

use tulpar::prelude::*;

#[derive(Default)]
struct CrateName {
    greeted: u64,
}

#[tulpar::namespace(path = "/crate-name")]
impl Namespace for CrateName {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        self.greeted += 1;
        ws.subscribe("lobby")?;
        ws.send(Json(json!({ "type": "welcome", "number": self.greeted })))
    }

    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        ws.send(format!("You said: {message}"))?;
        let said = json!({ "type": "said", "text": message.as_text() });
        ws.publish("lobby", Json(said))?;
        Ok(())
    }

    fn on_close(&mut self, ws: &Socket<()>, event: CloseEvent) -> Result<()> {
        let left = json!({ "type": "left", "code": event.code });
        ws.publish("lobby", Json(left))?;
        Ok(())
    }
}
