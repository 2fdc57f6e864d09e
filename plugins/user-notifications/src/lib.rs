//! The sockets that the plugin `users` sends to. Neither knows the other: the broker stands between them, so that there
//! is no circle of one that needs the other.

use tulpar::prelude::*;

#[derive(Default)]
struct UserNotifications;

#[tulpar::namespace(
    path = "/notifications",
    name = "UserNotificationSocket",
    middlewares = ["ws-visitor"]
)]
impl Namespace for UserNotifications {
    type Data = Value;

    fn on_open(&mut self, ws: &Socket<Value>) -> Result<()> {
        if let Some(id) = ws.data()?["userId"].as_str() {
            ws.subscribe(&format!("user:{id}"))?;
        }
        ws.send(Json(json!({ "type": "connected" })))
    }
}
