//! A chat with rooms: members are told who joins, who leaves and what is said, and can whisper to one socket.
//!
//! A client sends `{"type":"message","message":..}` to its room, `{"type":"private","to":ID,"message":..}` to
//! one socket, and `{"type":"whoami"}` to learn its own id.

use serde::Deserialize;
use tulpar::prelude::*;
use tulpar::timestamp;

#[derive(Default)]
struct ChatRooms;

/// What `ws-visitor` attaches. Whoever gives no name and no room is Anonymous in general.
#[derive(Deserialize)]
#[serde(default)]
struct Visitor {
    username: String,
    room: String,
}

impl Default for Visitor {
    fn default() -> Self {
        Self {
            username: "Anonymous".into(),
            room: "general".into(),
        }
    }
}

#[tulpar::namespace(
    path = "/chat-rooms",
    name = "ChatRoomsSocket",
    middlewares = ["ws-visitor"]
)]
impl Namespace for ChatRooms {
    type Data = Option<Visitor>;

    fn on_open(&mut self, ws: &Socket<Option<Visitor>>) -> Result<()> {
        let Visitor { username, room } = ws.data()?.unwrap_or_default();
        ws.subscribe(&room)?;
        ws.send(Json(json!({
            "type": "welcome",
            "message": format!("Welcome to {room}, {username}!"),
        })))?;
        ws.publish(
            &room,
            Json(json!({ "type": "user_joined", "username": username, "timestamp": timestamp() })),
        )?;
        Ok(())
    }

    fn on_message(&mut self, ws: &Socket<Option<Visitor>>, message: Message) -> Result<()> {
        let Ok(data) = message.json::<Value>() else {
            return ws.send(Json(
                json!({ "type": "error", "message": "Invalid message format" }),
            ));
        };
        match data["type"].as_str() {
            Some("message") => say(ws, &data["message"]),
            Some("private") => whisper(ws, &data["to"], &data["message"]),
            Some("whoami") => ws.send(Json(json!({ "type": "whoami", "id": ws.id() }))),
            _ => Ok(()),
        }
    }

    fn on_close(&mut self, ws: &Socket<Option<Visitor>>, _event: CloseEvent) -> Result<()> {
        let Visitor { username, room } = ws.data()?.unwrap_or_default();
        ws.publish(
            &room,
            Json(json!({ "type": "user_left", "username": username })),
        )?;
        Ok(())
    }
}

fn say(ws: &Socket<Option<Visitor>>, message: &Value) -> Result<()> {
    let Visitor { username, room } = ws.data()?.unwrap_or_default();
    ws.publish(
        &room,
        Json(json!({
            "type": "message",
            "username": username,
            "message": message,
            "timestamp": timestamp(),
        })),
    )?;
    Ok(())
}

fn whisper(ws: &Socket<Option<Visitor>>, to: &Value, message: &Value) -> Result<()> {
    let whispered = ulak("/chat-rooms").to_socket(
        to.as_str().unwrap_or_default(),
        Json(json!({ "type": "private_message", "message": message })),
    );
    match whispered {
        Err(error) if error.code == UlakErrorCode::SocketNotFound => ws.send(Json(
            json!({ "type": "error", "message": "Unknown socket" }),
        )),
        // A peer that does not read is no fault of the sender, whose socket an error would close.
        Err(error) => {
            log::warn(format!("a private message is lost: {error}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
