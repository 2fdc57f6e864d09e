//! A namespace for the middleware to stand before, in its test.

use tulpar::prelude::*;

#[derive(Default)]
struct Cave;

#[tulpar::namespace(path = "/cave", middlewares = ["crate-name"])]
impl Namespace for Cave {
    type Data = Value;

    fn on_open(&mut self, ws: &Socket<Value>) -> Result<()> {
        ws.send(Json(ws.data()?))
    }
}
