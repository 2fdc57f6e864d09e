//! The smallest chat: it welcomes whoever connects and echoes what they say.

use tulpar::prelude::*;

#[derive(Default)]
struct Chat;

#[tulpar::namespace(path = "/chat", name = "ChatSocket")]
impl Namespace for Chat {
    fn on_open(&mut self, ws: &Socket<()>) -> Result<()> {
        log::info(format!("Client connected: {}", ws.id()));
        ws.send("Welcome to chat!")
    }

    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        match message.as_text() {
            Some(text) => ws.send(format!("Echo: {text}")),
            None => ws.send(message),
        }
    }

    fn on_close(&mut self, ws: &Socket<()>, _event: CloseEvent) -> Result<()> {
        log::info(format!("Client disconnected: {}", ws.id()));
        Ok(())
    }
}
