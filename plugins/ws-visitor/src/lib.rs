//! Lets visitors say who they are: `?userId=..&username=..&room=..` becomes the values of the socket.
//!
//! For demonstration. It believes whatever it is told and authenticates nobody; see `ws-auth` for a
//! middleware that does.

use tulpar::prelude::*;

const KEYS: [&str; 3] = ["userId", "username", "room"];
/// Room names have at most 256 bytes, and handlers put prefixes before what is given here.
const MAX_BYTES: usize = 64;

#[derive(Default)]
struct WsVisitor;

#[tulpar::middleware(name = "ws-visitor")]
impl Middleware for WsVisitor {
    fn handle(&mut self, cx: &Context) -> Result<Verdict> {
        let mut values = json!({});
        for key in KEYS {
            if let Some(value) = cx.query(key).map(tame).filter(|value| !value.is_empty()) {
                values[key] = value.into();
            }
        }
        if values != json!({}) {
            cx.set_web_socket_value(&values)?;
        }
        Ok(Verdict::Next)
    }
}

/// A short text without control characters, as room names and logs want it.
fn tame(mut value: String) -> String {
    value.retain(|c| !c.is_control());
    value.truncate(value.floor_char_boundary(MAX_BYTES));
    value
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn values_are_short_and_printable() {
        assert_eq!(tame("Ada Lovelace".into()), "Ada Lovelace");
        assert_eq!(tame("a\r\n\0b".into()), "ab");
        assert_eq!(tame("a".repeat(65)), "a".repeat(64));
        assert_eq!(tame("€".repeat(22)), "€".repeat(21));
    }
}
