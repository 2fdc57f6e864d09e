//! What the operator does to a socket, by the same functions of the hub as a plugin does.

use hyper::StatusCode;
use serde::Deserialize;

use super::answer::Refused;
use super::{Admin, listing};
use crate::hub::{self, Frame, MAX_CONTROL_PAYLOAD, State, is_sendable};
use crate::message::Message;
use crate::plugin::host::one_line;

/// The code that a socket is closed with when none is said: RFC 6455 has it for what is none of its other reasons.
const KICKED: u16 = 1008;

/// An order for a socket.
#[derive(Debug, Deserialize)]
pub(super) struct SocketOrder {
    /// The path of its namespace.
    namespace: String,
    /// Its id.
    id: String,
    #[serde(flatten)]
    action: SocketAction,
}

/// What is to be done to a socket.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
enum SocketAction {
    /// It is closed.
    Kick {
        code: Option<u16>,
        #[serde(default)]
        reason: String,
    },
    /// It is sent a text message.
    Send { text: String },
    /// It is put into a room.
    Join { room: String },
    /// It is taken out of a room.
    Leave { room: String },
}

/// Carries out an order, and tells the log.
pub(super) fn obey(admin: &Admin, order: &SocketOrder) -> Result<(), Refused> {
    let loaded = admin.loaded_at(&order.namespace)?;
    let sockets = admin.sockets_of(&order.namespace)?;
    let socket = listing::find(&sockets, &order.id)?;
    let wrong = |why: String| Err((StatusCode::BAD_REQUEST, why));
    let conflict = |why: String| (StatusCode::CONFLICT, why);
    // Never what is in a message.
    let what = match &order.action {
        SocketAction::Kick { code, reason } => {
            let code = code.unwrap_or(KICKED);
            if !is_sendable(code) {
                return wrong(format!("{code} is no code to close a socket with"));
            }
            let most = MAX_CONTROL_PAYLOAD - 2;
            if reason.len() > most {
                return wrong(format!("a reason has at most {most} bytes"));
            }
            if socket.outbox().state() != State::Open {
                return Err(conflict("the socket is closing already".into()));
            }
            socket.outbox().close(Frame::close(Some(code), reason));
            format!("closes it with {code} {reason:?}")
        }
        SocketAction::Send { text } => {
            let most = loaded.plugin.settings().limits.max_message_bytes;
            if text.len() > most {
                return wrong(format!("a message has at most {most} bytes"));
            }
            let frame = Frame::message(Message::Text(text));
            let sent = hub::turn(|| socket.send(frame));
            sent.map_err(|error| conflict(error.to_string()))?;
            format!("sends {} bytes to it", text.len())
        }
        SocketAction::Join { room } => {
            let joined = sockets.join(&socket, room);
            joined.map_err(|error| conflict(error.to_string()))?;
            format!("puts it into {room:?}")
        }
        SocketAction::Leave { room } => {
            if !sockets.is_member(socket.id(), room) {
                return Err(conflict(format!("the socket is not in {room:?}")));
            }
            sockets.leave(socket.id(), room);
            format!("takes it out of {room:?}")
        }
    };
    tracing::info!(
        plugin = %loaded.plugin.id(),
        ns = sockets.path(),
        conn = %socket.id(),
        "the operator {}",
        one_line(&what)
    );
    Ok(())
}
