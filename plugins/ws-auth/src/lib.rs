//! Lets in whoever brings the token, in `?token=` or as `Authorization: Bearer`.

use tulpar::prelude::*;

#[derive(Default)]
struct WsAuth;

#[tulpar::middleware(name = "ws-auth")]
impl Middleware for WsAuth {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        let in_query = cx.query("token").filter(|token| !token.is_empty());
        let Some(token) = in_query.or_else(|| cx.bearer_token()) else {
            return Ok(Response::json(401, &json!({ "error": "Unauthorized" })).into());
        };

        // Replace with your own check.
        if token != "valid-token" {
            return Ok(Response::json(401, &json!({ "error": "Invalid token" })).into());
        }

        cx.set_web_socket_value(&json!({ "userId": "123", "username": "john_doe" }))?;
        Ok(Verdict::Next)
    }
}
