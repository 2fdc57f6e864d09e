//! Rooms to notify people in: one for each user and one for everybody. What is sent there comes from others.

use serde::Deserialize;
use tulpar::prelude::*;

const ANNOUNCEMENTS: &str = "announcements";

#[derive(Default)]
struct Notifications;

/// What `ws-visitor` attaches.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Visitor {
    user_id: Option<String>,
}

#[tulpar::namespace(
    path = "/ws/notifications",
    name = "NotificationSocket",
    middlewares = ["ws-visitor"]
)]
impl Namespace for Notifications {
    type Data = Option<Visitor>;

    fn on_open(&mut self, ws: &Socket<Option<Visitor>>) -> Result<()> {
        if let Some(room) = own_room(ws)? {
            ws.subscribe(&room)?;
        }
        ws.subscribe(ANNOUNCEMENTS)?;
        ws.send(Json(json!({
            "type": "connected",
            "message": "Connected to notification system",
        })))
    }

    fn on_message(&mut self, ws: &Socket<Option<Visitor>>, message: Message) -> Result<()> {
        match message.json::<Value>() {
            Ok(data) if data["type"] == "ping" => ws.send(Json(json!({ "type": "pong" }))),
            Ok(_) => Ok(()),
            Err(_) => {
                log::error("Invalid message format");
                Ok(())
            }
        }
    }

    fn on_close(&mut self, ws: &Socket<Option<Visitor>>, _event: CloseEvent) -> Result<()> {
        // For the reader: a socket that closes leaves its rooms by itself.
        if let Some(room) = own_room(ws)? {
            ws.unsubscribe(&room);
        }
        ws.unsubscribe(ANNOUNCEMENTS);
        Ok(())
    }
}

fn own_room(ws: &Socket<Option<Visitor>>) -> Result<Option<String>> {
    let user_id = ws.data()?.and_then(|visitor| visitor.user_id);
    Ok(user_id.map(|id| format!("user:{id}")))
}
