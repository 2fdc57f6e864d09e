//! `tulpar:plugin/rooms`.

use wasmtime::Result;

use super::super::bindings::tulpar::plugin::rooms::Host;
use super::super::bindings::tulpar::plugin::types::{MessageResult, SocketError};
use super::HostState;
use crate::hub::Audience;

impl Host for HostState {
    fn names(&mut self) -> Result<Vec<String>> {
        let rooms = self.namespace.as_ref().map(|namespace| namespace.rooms());
        Ok(rooms
            .into_iter()
            .flatten()
            .map(|room| room.as_ref().to_owned())
            .collect())
    }

    fn members(&mut self, room: String) -> Result<Vec<String>> {
        let members = self
            .namespace
            .as_ref()
            .map(|namespace| namespace.room_members(&room));
        Ok(members
            .into_iter()
            .flatten()
            .map(|id| id.to_string())
            .collect())
    }

    fn count(&mut self, room: String) -> Result<u32> {
        let count = self
            .namespace
            .as_ref()
            .map_or(0, |namespace| namespace.room_len(&room));
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn to(&mut self, room: String, message: MessageResult) -> Result<Result<u32, SocketError>> {
        let audience = Audience::Room {
            name: &room,
            except: None,
        };
        Ok(self.publish(audience, &message))
    }

    fn broadcast(&mut self, message: MessageResult) -> Result<Result<u32, SocketError>> {
        Ok(self.publish(Audience::Everybody, &message))
    }
}
