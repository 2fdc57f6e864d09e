//! `tulpar:plugin/sockets`.

use std::sync::Arc;

use slab::Slab;
use wasmtime::component::Resource;
use wasmtime::{Result, format_err};

use super::super::bindings::tulpar::plugin::sockets::{Host, HostSocket};
use super::super::bindings::tulpar::plugin::types::{MessageResult, SocketError};
use super::{HostState, checked_json, encode};
use crate::hub::{Audience, Frame, MAX_CONTROL_PAYLOAD, Socket, is_sendable};
use crate::quota::Spent;

/// What a guest's handle to a socket stands for: a place in [`Handles`].
pub struct SocketHandle;

/// The sockets that an instance has handles to.
#[derive(Default)]
pub(in crate::plugin) struct Handles {
    sockets: Slab<Arc<Socket>>,
    limit: usize,
}

impl Handles {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sockets: Slab::new(),
            limit,
        }
    }

    /// Lends a socket to the guest for one call; it does not count against the limit.
    pub(in crate::plugin) fn lend(&mut self, socket: Arc<Socket>) -> Resource<SocketHandle> {
        Resource::new_borrow(self.insert(socket))
    }

    /// Takes a lent one back. When it is gone already, nothing happens.
    pub(in crate::plugin) fn take_back(&mut self, lent: u32) {
        self.sockets.try_remove(lent as usize);
    }

    /// Gives a socket to the guest until it drops it; none when it has too many.
    fn give(&mut self, socket: Arc<Socket>) -> Option<Resource<SocketHandle>> {
        (self.sockets.len() <= self.limit).then(|| Resource::new_own(self.insert(socket)))
    }

    fn insert(&mut self, socket: Arc<Socket>) -> u32 {
        // There are never as many as four billion: `limit` of those given, and one that is lent.
        self.sockets.insert(socket) as u32
    }

    fn get(&self, handle: &Resource<SocketHandle>) -> Result<&Arc<Socket>> {
        self.sockets
            .get(handle.rep() as usize)
            .ok_or_else(|| format_err!("the socket handle is not valid any more"))
    }
}

impl HostSocket for HostState {
    fn id(&mut self, socket: Resource<SocketHandle>) -> Result<String> {
        Ok(self.handles.get(&socket)?.id().to_string())
    }

    fn remote_address(&mut self, socket: Resource<SocketHandle>) -> Result<String> {
        Ok(self.handles.get(&socket)?.remote().to_string())
    }

    fn values(&mut self, socket: Resource<SocketHandle>) -> Result<Option<String>> {
        Ok(self
            .handles
            .get(&socket)?
            .values()
            .map(|json| json.as_ref().to_owned()))
    }

    fn set_values(
        &mut self,
        socket: Resource<SocketHandle>,
        json: String,
    ) -> Result<Result<(), SocketError>> {
        let socket = self.handles.get(&socket)?;
        Ok(checked_json(json).map(|json| socket.set_values(json)))
    }

    fn send(
        &mut self,
        socket: Resource<SocketHandle>,
        message: MessageResult,
    ) -> Result<Result<(), SocketError>> {
        let socket = self.handles.get(&socket)?;
        // Whoever has a socket has the namespace that it is of.
        let Some(namespace) = &self.namespace else {
            return Ok(Err(SocketError::Closed));
        };
        let frame = encode(&message, &self.settings.limits, &self.account);
        Ok(frame.and_then(|frame| {
            self.account.charge(Spent::Deliveries, 1);
            Ok(namespace.send(socket, frame)?)
        }))
    }

    fn ping(
        &mut self,
        socket: Resource<SocketHandle>,
        data: Vec<u8>,
    ) -> Result<Result<(), SocketError>> {
        let socket = self.handles.get(&socket)?;
        if data.len() > MAX_CONTROL_PAYLOAD {
            return Ok(Err(SocketError::InvalidArgument));
        }
        if self.account.spend_one(Spent::Deliveries).is_err() {
            return Ok(Err(SocketError::LimitExceeded));
        }
        Ok(socket.send(Frame::ping(&data)).map_err(SocketError::from))
    }

    fn buffered_amount(&mut self, socket: Resource<SocketHandle>) -> Result<u64> {
        Ok(self.handles.get(&socket)?.outbox().buffered() as u64)
    }

    fn subscribe(
        &mut self,
        socket: Resource<SocketHandle>,
        room: String,
    ) -> Result<Result<(), SocketError>> {
        let socket = self.handles.get(&socket)?;
        Ok(match &self.namespace {
            Some(namespace) => namespace.join(socket, &room).map_err(SocketError::from),
            None => Err(SocketError::Closed),
        })
    }

    fn unsubscribe(&mut self, socket: Resource<SocketHandle>, room: String) -> Result<()> {
        let id = self.handles.get(&socket)?.id();
        if let Some(namespace) = &self.namespace {
            namespace.leave(id, &room);
        }
        Ok(())
    }

    fn is_subscribed(&mut self, socket: Resource<SocketHandle>, room: String) -> Result<bool> {
        let id = self.handles.get(&socket)?.id();
        Ok(self
            .namespace
            .as_ref()
            .is_some_and(|namespace| namespace.is_member(id, &room)))
    }

    fn rooms(&mut self, socket: Resource<SocketHandle>) -> Result<Vec<String>> {
        let socket = self.handles.get(&socket)?;
        let rooms = match (socket.left(), &self.namespace) {
            (Some(left), _) => left.to_vec(),
            (None, Some(namespace)) => namespace.rooms_of(socket.id()),
            (None, None) => Vec::new(),
        };
        Ok(rooms.iter().map(|room| room.as_ref().to_owned()).collect())
    }

    fn publish(
        &mut self,
        socket: Resource<SocketHandle>,
        room: String,
        message: MessageResult,
    ) -> Result<Result<u32, SocketError>> {
        let except = Some(self.handles.get(&socket)?.id());
        Ok(HostState::publish(
            self,
            Audience::Room {
                name: &room,
                except,
            },
            &message,
        ))
    }

    fn close(&mut self, socket: Resource<SocketHandle>, code: u16, reason: String) -> Result<()> {
        let code = if is_sendable(code) { code } else { 1000 };
        self.handles
            .get(&socket)?
            .outbox()
            .close(Frame::close(Some(code), &reason));
        Ok(())
    }

    fn terminate(&mut self, socket: Resource<SocketHandle>) -> Result<()> {
        self.handles.get(&socket)?.outbox().abort();
        Ok(())
    }

    fn drop(&mut self, socket: Resource<SocketHandle>) -> Result<()> {
        self.handles.take_back(socket.rep());
        Ok(())
    }
}

impl Host for HostState {
    fn get(&mut self, id: String) -> Result<Option<Resource<SocketHandle>>> {
        let found = id.parse().ok().and_then(|id| {
            self.namespace
                .as_ref()
                .and_then(|namespace| namespace.get(id))
        });
        let Some(socket) = found else { return Ok(None) };
        match self.handles.give(socket) {
            Some(handle) => Ok(Some(handle)),
            // The function has no error to return, and "unknown" would be a lie.
            None => Err(format_err!(
                "the plugin holds {} sockets, the most it may (limits.handles)",
                self.handles.limit
            )),
        }
    }

    fn ids(&mut self) -> Result<Vec<String>> {
        let ids = self.namespace.as_ref().map(|namespace| namespace.ids());
        Ok(ids.into_iter().flatten().map(|id| id.to_string()).collect())
    }

    fn count(&mut self) -> Result<u32> {
        let count = self
            .namespace
            .as_ref()
            .map_or(0, |namespace| namespace.len());
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
