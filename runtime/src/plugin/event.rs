//! Calls of a namespace: what happens to its sockets.

use std::pin::pin;
use std::sync::Arc;

use super::bindings::tulpar::plugin::types;
use super::instance::{Entry, Guest, Instance, Quarantines};
use super::tally::Call;
use super::{CallError, Plugin};
use crate::hub::Socket;
use crate::message::{CloseEvent, Message};

/// What happens to a socket.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It has connected.
    Open,
    /// Its peer has sent a message.
    Message(Message<'a>),
    /// All has been written of what waited for a slow peer.
    Drained,
    /// It has closed. Who waits for on-close finds out at once that the plugin is in quarantine.
    Close(&'a CloseEvent),
    /// The same, once nobody waits any more. When one quarantine leads to the next, its on-close does not run.
    CloseLate(&'a CloseEvent),
}

impl Plugin {
    /// Whether its namespace wants to know of [`Event::Drained`].
    #[must_use]
    pub fn hears_of_drains(&self) -> bool {
        self.generation.load().code.drain.is_some()
    }

    /// Tells the namespace's handler what has happened to a socket.
    ///
    /// Not cancel-safe: when the future is dropped the instance is lost, as after a trap.
    ///
    /// # Errors
    /// The handler returned an error, trapped or took too long.
    pub async fn handle(&self, socket: &Arc<Socket>, event: Event<'_>) -> Result<(), CallError> {
        let quarantines = match event {
            Event::Close(_) => Quarantines::None,
            Event::CloseLate(_) => Quarantines::One,
            _ => Quarantines::All,
        };
        let mut entry = Entry::new(self, &self.events, self.event_deadline(), quarantines).await?;
        let Instance {
            store,
            clock,
            guest:
                Guest {
                    namespace: Some(guest),
                    drain,
                    ..
                },
        } = &mut *entry.instance
        else {
            return Err(CallError::NotExported("namespace-handler"));
        };
        let lent = store.data_mut().handles.lend(socket.clone());
        let place = lent.rep();
        let outcome = match event {
            Event::Open => {
                clock
                    .run(Call::Open, pin!(guest.call_on_open(&mut *store, lent)))
                    .await
            }
            Event::Message(message) => {
                let message = match message {
                    Message::Text(text) => types::MessageParam::Text(text),
                    Message::Binary(bytes) => types::MessageParam::Binary(bytes),
                };
                clock
                    .run(
                        Call::Message,
                        pin!(guest.call_on_message(&mut *store, lent, message)),
                    )
                    .await
            }
            Event::Drained => match drain {
                Some(hook) => {
                    clock
                        .run(Call::Drain, pin!(hook.call_on_drain(&mut *store, lent)))
                        .await
                }
                // Another generation has come meanwhile, which does not want to know.
                None => Ok(Ok(Ok(()))),
            },
            Event::Close(event) | Event::CloseLate(event) => {
                let event = types::CloseEvent {
                    code: event.code,
                    reason: &event.reason,
                };
                clock
                    .run(
                        Call::Close,
                        pin!(guest.call_on_close(&mut *store, lent, event)),
                    )
                    .await
            }
        };
        store.data_mut().handles.take_back(place);
        entry.leave(outcome)?.map_err(CallError::handler)
    }
}
