//! Gives a socket the values that its request carries in the header `x-values`.

use tulpar::prelude::*;
use tulpar_test_guests::Value;

#[derive(Default)]
struct Attach;

#[tulpar::middleware(name = "attach")]
impl Middleware for Attach {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        if let Some(values) = cx.header("x-values") {
            cx.set_web_socket_value(&serde_json::from_str::<Value>(&values)?)?;
        }
        Ok(Verdict::Next)
    }
}
