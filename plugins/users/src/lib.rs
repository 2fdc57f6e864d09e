//! Users, who are told of what happens to them: a service's logic with HTTP routes to trigger it. The users are kept in
//! the tenant's key-value store, the messages go by the broker.

use serde::{Deserialize, Serialize};
use tulpar::prelude::*;

/// The sockets of the plugin `user-notifications`.
const NOTIFICATIONS: Ulak<'static> = ulak("/notifications");
/// Those of the plugin `notifications`.
const NOTIFICATION_SYSTEM: Ulak<'static> = ulak("/ws/notifications");

#[derive(Deserialize, Serialize)]
struct User {
    #[serde(default)]
    id: String,
    name: String,
    email: String,
}

#[derive(Deserialize)]
struct Text {
    message: String,
}

#[derive(Default)]
struct UserController;

#[tulpar::controller("/users")]
impl UserController {
    #[post("/")]
    fn create(&mut self, request: &Request) -> Result<(u16, Json<User>)> {
        Ok((201, Json(create_user(request.json()?)?)))
    }

    #[get("/{id}")]
    fn show(&mut self, request: &Request) -> Result<Json<User>> {
        let found = kv::open("users")?.get_json(&id(request)?)?;
        found.map(Json).ok_or_else(unknown)
    }

    #[put("/{id}/profile")]
    fn update_profile(&mut self, request: &Request) -> Result<Json<Value>> {
        update_user_profile(&id(request)?, &request.json()?)?;
        Ok(Json(json!({ "success": true })))
    }

    #[post("/{id}/notify")]
    fn notify(&mut self, request: &Request) -> Result<Json<Value>> {
        let Text { message } = request.json()?;
        notify_user(&id(request)?, &message)?;
        Ok(Json(json!({ "success": true })))
    }

    #[post("/announcement")]
    fn announce(&mut self, request: &Request) -> Result<Json<Value>> {
        let Text { message } = request.json()?;
        send_global_announcement(&message)?;
        Ok(Json(json!({ "success": true })))
    }
}

/// The user whom a request is about. Ids are numbers: nobody has another one.
fn id(request: &Request) -> Result<String> {
    match request.param("id")?.parse::<u64>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(unknown()),
    }
}

fn unknown() -> Error {
    Error::status(404, "There is no such user")
}

fn create_user(mut user: User) -> Result<User> {
    let users = kv::open("users")?;
    user.id = kv::open("counters")?.increment("users", 1)?.to_string();
    users.set_json(&user.id, &user)?;
    NOTIFICATIONS.broadcast(Json(json!({ "type": "user_created", "user": user })))?;
    Ok(user)
}

fn notify_user(id: &str, message: &str) -> Result<()> {
    let notification = json!({ "type": "notification", "message": message });
    NOTIFICATIONS.to(&format!("user:{id}"), Json(notification))?;
    Ok(())
}

fn update_user_profile(id: &str, user: &User) -> Result<()> {
    let user = json!({ "id": id, "name": user.name, "email": user.email });
    kv::open("users")?.set_json(id, &user)?;
    let notification = json!({
        "type": "profile_updated",
        "message": "Your profile has been updated",
        "timestamp": tulpar::timestamp(),
    });
    NOTIFICATION_SYSTEM.to(&format!("user:{id}"), Json(notification))?;
    Ok(())
}

fn send_global_announcement(message: &str) -> Result<()> {
    let announcement = json!({
        "type": "announcement",
        "message": message,
        "timestamp": tulpar::timestamp(),
    });
    NOTIFICATION_SYSTEM.to("announcements", Json(announcement))?;
    Ok(())
}
