//! Answers `{"type":"ping"}`, and says what is wrong with everything else instead of closing the connection.

use tulpar::prelude::*;

#[derive(Default)]
struct ChatErrors;

#[tulpar::namespace(path = "/chat-errors", name = "ChatErrorsSocket")]
impl Namespace for ChatErrors {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        match answer(&message) {
            Ok(answer) => ws.send(Json(answer)),
            Err(error) => ws.send(Json(
                json!({ "type": "error", "message": error.to_string() }),
            )),
        }
    }
}

fn answer(message: &Message) -> Result<Value> {
    let data: Value = message.json()?;
    match data["type"].as_str() {
        None | Some("") => Err(Error::msg("Message type is required")),
        Some("ping") => Ok(json!({ "type": "pong" })),
        Some(unknown) => Err(Error::msg(format!("Unknown message type: {unknown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(text: &str) -> Result<Value> {
        answer(&Message::Text(text.into()))
    }

    #[test]
    fn a_ping_is_answered() {
        assert_eq!(
            answer_to(r#"{"type":"ping"}"#).unwrap(),
            json!({ "type": "pong" })
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, expected) in [
            ("{}", "Message type is required"),
            (r#"{"type":""}"#, "Message type is required"),
            (r#"{"type":"dance"}"#, "Unknown message type: dance"),
            ("{", "EOF while parsing an object at line 1 column 1"),
        ] {
            assert_eq!(answer_to(text).unwrap_err().to_string(), expected);
        }
    }
}
