//! Lets in whoever brings the token, in `?token=` or as `Authorization: Bearer`. A namespace has it before it with
//! `middlewares = ["crate-name"]`.

use tulpar::prelude::*;

#[derive(Default)]
struct CrateName;

#[tulpar::middleware(name = "crate-name")]
impl Middleware for CrateName {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        let token = cx.query("token").or_else(|| cx.bearer_token());
        // Replace with your own check.
        if token.as_deref() != Some("open-sesame") {
            return Ok(Response::json(401, &json!({ "error": "Unauthorized" })).into());
        }
        // What the namespace reads with `ws.data()`.
        cx.set_web_socket_value(&json!({ "name": "Ali Baba" }))?;
        Ok(Verdict::Next)
    }
}
