//! A namespace behind three middlewares, which run in the order of the list.

use tulpar::prelude::*;

#[derive(Default)]
struct Admin;

#[tulpar::namespace(
    path = "/admin",
    name = "AdminSocket",
    middlewares = ["ws-logging", "ws-auth", "ws-rate-limit"]
)]
impl Namespace for Admin {
    type Data = Value;

    fn on_open(&mut self, ws: &Socket<Value>) -> Result<()> {
        ws.send(Json(json!({
            "type": "admin-welcome",
            "user": ws.data()?,
            "permissions": ["read", "write", "delete"],
        })))
    }
}
