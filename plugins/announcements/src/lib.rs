//! An HTTP controller that sends to sockets: `POST /admin/announcement` tells everybody who wants to be notified.

use serde::Deserialize;
use tulpar::prelude::*;

const NOTIFICATIONS: Ulak<'static> = ulak("/ws/notifications");

#[derive(Default)]
struct AdminController;

#[derive(Deserialize)]
struct Announcement {
    message: String,
}

#[tulpar::controller("/admin")]
impl AdminController {
    #[post("/announcement")]
    fn announce(&mut self, request: &Request) -> Result<Json<Value>> {
        let Announcement { message } = request.json()?;
        let announcement = json!({
            "type": "announcement",
            "message": message,
            "timestamp": tulpar::timestamp(),
        });
        NOTIFICATIONS.to("announcements", Json(announcement))?;
        Ok(Json(json!({ "success": true })))
    }
}
