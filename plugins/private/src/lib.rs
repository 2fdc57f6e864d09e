//! A namespace for those whom `ws-auth` lets in. It tells them who they are.

use serde::Deserialize;
use tulpar::prelude::*;

#[derive(Default)]
struct Private;

/// What `ws-auth` attaches.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: String,
    username: String,
}

#[tulpar::namespace(path = "/private", name = "PrivateSocket", middlewares = ["ws-auth"])]
impl Namespace for Private {
    type Data = User;

    fn on_open(&mut self, ws: &Socket<User>) -> Result<()> {
        let User { user_id, username } = ws.data()?;
        log::info(format!("Authenticated user connected: {username}"));
        ws.send(Json(json!({
            "type": "authenticated",
            "userId": user_id,
            "username": username,
        })))
    }

    fn on_message(&mut self, ws: &Socket<User>, message: Message) -> Result<()> {
        let User { username, .. } = ws.data()?;
        log::info(format!("Message from {username}: {message}"));
        Ok(())
    }
}
