//! A service that sends to the sockets of another plugin's namespace: when it is asked to over HTTP, and by itself at
//! each full hour.

use serde::Deserialize;
use tulpar::prelude::*;

const CHAT: Ulak<'static> = ulak("/chat-rooms");

#[derive(Default)]
struct NotificationService;

#[tulpar::service(name = "NotificationService")]
impl NotificationService {
    fn on_start(&mut self) -> Result<()> {
        log::info("ready to notify");
        Ok(())
    }

    #[cron("0 * * * *")]
    fn full_hour(&mut self) -> Result<()> {
        notify_all_users(&format!("It is {}", tulpar::timestamp()))
    }
}

#[derive(Default)]
struct NotificationController;

#[derive(Deserialize)]
struct Notification {
    message: String,
}

#[tulpar::controller("/notify")]
impl NotificationController {
    #[post("/rooms/{room}")]
    fn room(&mut self, request: &Request) -> Result<Json<Value>> {
        let Notification { message } = request.json()?;
        send_system_message(request.param("room")?, &message)?;
        Ok(Json(json!({ "success": true })))
    }

    #[post("/")]
    fn everybody(&mut self, request: &Request) -> Result<Json<Value>> {
        let Notification { message } = request.json()?;
        notify_all_users(&message)?;
        Ok(Json(json!({ "success": true })))
    }
}

fn send_system_message(room: &str, message: &str) -> Result<()> {
    let message = json!({
        "type": "system_message",
        "message": message,
        "timestamp": tulpar::timestamp(),
    });
    match CHAT.to(room, Json(message)) {
        Ok(_) => Ok(()),
        // Whoever asked for it named the room.
        Err(error) if error.code == UlakErrorCode::InvalidRoom => Err(Error::status(400, error)),
        Err(error) => Err(error.into()),
    }
}

fn notify_all_users(message: &str) -> Result<()> {
    CHAT.broadcast(Json(json!({ "type": "notification", "message": message })))?;
    Ok(())
}
