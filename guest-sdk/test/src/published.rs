//! What plugins publish.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tulpar_runtime::backplane::{self, Backplane, Local};
use tulpar_runtime::hub::{Audience, Frame, Namespace};

use crate::Message;

/// The opcode of a text message (RFC 6455, section 5.2).
const TEXT: u8 = 1;

/// A message to several sockets at once, whether or not there were any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The namespace whose sockets it was for.
    pub path: String,
    /// The room whose members it was for; none when it was for everybody.
    pub room: Option<String>,
    /// What was published.
    pub message: Message,
}

/// Takes note of what is published, and delivers it.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Published>>>);

impl Recorder {
    /// What was published since this was asked last.
    pub(crate) fn take(&self) -> Vec<Published> {
        take(&mut self.list())
    }

    fn list(&self) -> MutexGuard<'_, Vec<Published>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backplane for Recorder {
    fn publish(
        &self,
        namespace: &Namespace,
        audience: Audience<'_>,
        frame: &Frame,
    ) -> backplane::Published {
        if let Some((opcode, payload)) = frame.uncompressed() {
            let room = match audience {
                Audience::Room { name, .. } => Some(name.to_owned()),
                Audience::Everybody => None,
            };
            let message = match String::from_utf8(payload.into()) {
                Ok(text) if opcode == TEXT => Message::Text(text),
                _ => Message::Binary(payload.into()),
            };
            self.list().push(Published {
                path: namespace.path().to_owned(),
                room,
                message,
            });
        }
        Local.publish(namespace, audience, frame)
    }
}
