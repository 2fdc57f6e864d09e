//! The sockets of one namespace and its rooms.

mod members;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;

pub use self::members::Leaving;
use self::members::{Members, Room, Sockets};
use super::compression::Shared;
use super::{CloseCode, Frame, Interest, Outbox, Place, SendError, Socket, Traffic, Wire};
use crate::config::{Limits, SlowConsumer};
use crate::ids::SocketId;
use crate::quota::{Account, Held};

/// The longest name of a room, in bytes.
const MAX_ROOM_NAME: usize = 256;
/// Rooms that a socket is taken out of at once: few, because many sockets may go in the same moment.
const AT_ONCE: usize = 8;
/// Rooms that it is taken out of in each further turn.
const IN_A_TURN: usize = 64;
/// The longest path, in bytes.
const MAX_PATH: usize = 256;

/// The sockets and rooms behind one path.
pub struct Namespace {
    tenant: Option<String>,
    path: String,
    rooms_per_socket: AtomicUsize,
    rooms_per_namespace: AtomicUsize,
    account: Account,
    traffic: Arc<Traffic>,
    /// Who has to hear which rooms there are, when somebody has.
    interest: OnceLock<Arc<dyn Interest>>,
    members: RwLock<Members>,
}

/// Whom a message is for, within one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// The members of a room, but for one socket when one is named.
    Room {
        /// The room's name.
        name: &'a str,
        /// Who is left out, usually the sender.
        except: Option<SocketId>,
    },
    /// Every socket of the namespace.
    Everybody,
}

/// Why a socket cannot join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It is not in the namespace any more.
    #[error("the socket is closed")]
    Closed,
    /// Not 1 to 256 bytes without control characters.
    #[error("a room name is 1 to {MAX_ROOM_NAME} bytes without control characters")]
    InvalidName,
    /// The socket is in as many rooms as it may be in, or the namespace has as many as it may have.
    #[error("there are as many rooms as there may be")]
    TooMany,
}

impl Namespace {
    /// An empty namespace for the path it is mounted on, which begins with the tenant's name when it is a tenant's.
    #[must_use]
    pub fn new(tenant: Option<&str>, path: String, limits: &Limits, account: Account) -> Self {
        Self {
            tenant: tenant.map(str::to_owned),
            path,
            rooms_per_socket: limits.rooms_per_socket.into(),
            rooms_per_namespace: limits.rooms_per_namespace.into(),
            account,
            traffic: Arc::default(),
            interest: OnceLock::new(),
            members: RwLock::default(),
        }
    }

    /// Lets there be as many rooms from now on. Those that there are stay.
    pub fn set_limits(&self, limits: &Limits) {
        let relaxed = Ordering::Relaxed;
        self.rooms_per_socket
            .store(limits.rooms_per_socket, relaxed);
        self.rooms_per_namespace
            .store(limits.rooms_per_namespace, relaxed);
    }

    /// What the use of it is counted on.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What has come and gone.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// An outbox for a socket of it, see [`Outbox::new`].
    #[must_use]
    pub fn outbox(&self, capacity: usize, policy: SlowConsumer, wire: Arc<dyn Wire>) -> Outbox {
        Outbox::new(capacity, policy, self.traffic.clone(), wire)
    }

    /// Has somebody hear which rooms there are, before there are any. Nobody else can afterwards.
    pub fn set_interest(&self, interest: Arc<dyn Interest>) {
        let _ = self.interest.set(interest);
    }

    /// Whether somebody hears that.
    #[must_use]
    pub fn has_interest(&self) -> bool {
        self.interest.get().is_some()
    }

    fn toggle(&self, place: impl FnOnce() -> Place) {
        if let Some(interest) = self.interest.get() {
            interest.toggle(place());
        }
    }

    /// Whose it is; none for the root folder.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The path it is mounted on.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Why no namespace can have that path, below that of a tenant; none when one can.
    #[must_use]
    pub fn path_problem(path: &str) -> Option<&'static str> {
        let Some(rest) = path.strip_prefix('/') else {
            return Some("does not begin with `/`");
        };
        if path.len() > MAX_PATH {
            return Some("is over 256 bytes");
        }
        if path.contains(['?', '#']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Some("has a query, a fragment, a space or a control character");
        }
        let mut segments = rest.split('/').filter(|_| !rest.is_empty());
        segments
            .any(|segment| matches!(segment, "" | "." | ".."))
            .then_some("has an empty segment or one of dots")
    }

    /// Whether a room may have that name.
    #[must_use]
    pub fn is_room_name(name: &str) -> bool {
        let bytes = name.as_bytes();
        (1..=MAX_ROOM_NAME).contains(&bytes.len())
            && !bytes.iter().any(u8::is_ascii_control)
            && (name.is_ascii() || !name.chars().any(char::is_control))
    }

    // Every change below is complete before anything in it could panic, so that a poisoned lock is still consistent.
    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a socket in. When the namespace has ended, it is closed again after its on-open.
    pub fn insert(&self, socket: Arc<Socket>) {
        let mut members = self.write();
        if let Some((code, reason)) = &members.ended {
            socket.close_between_messages(*code, reason);
        }
        members.sockets.insert(socket.id(), socket);
        if members.sockets.len() == 1 {
            self.toggle(|| Place::Whole);
        }
    }

    /// Serves nobody from now on: returns the sockets that are to be closed; those that still come are closed with this
    /// code and reason.
    #[must_use]
    pub fn end(&self, code: CloseCode, reason: &str) -> Vec<Arc<Socket>> {
        let mut members = self.write();
        members.ended = Some((code, reason.to_owned()));
        members.sockets.values().cloned().collect()
    }

    /// Takes a socket out of the list and out of its rooms; its [`Socket::left`] names them then. When it is in more than
    /// a few, what is still to be done is returned, for [`Namespace::remove_more`], so that nobody waits for a thousand.
    #[must_use]
    pub fn remove(&self, socket: &Socket) -> Option<Leaving> {
        let members = &mut *self.write();
        let was_in = members.sockets.swap_remove(&socket.id()).is_some();
        if was_in && members.sockets.is_empty() {
            self.toggle(|| Place::Whole);
        }
        let joined = members.joined.remove(&socket.id()).unwrap_or_default();
        let mut leaving = Leaving {
            rooms: joined.into_iter(),
            left: Vec::new(),
        };
        let done = members.leave_some(socket, &mut leaving, AT_ONCE, self);
        (!done).then_some(leaving)
    }

    /// Takes a socket that has been removed out of more of its rooms. Returns whether these were all.
    #[must_use]
    pub fn remove_more(&self, socket: &Socket, leaving: &mut Leaving) -> bool {
        self.write().leave_some(socket, leaving, IN_A_TURN, self)
    }

    /// The socket of that id.
    #[must_use]
    pub fn get(&self, id: SocketId) -> Option<Arc<Socket>> {
        self.read().sockets.get(&id).cloned()
    }

    /// All sockets.
    #[must_use]
    pub fn sockets(&self) -> Vec<Arc<Socket>> {
        self.read().sockets.values().cloned().collect()
    }

    /// The ids of all sockets.
    #[must_use]
    pub fn ids(&self) -> Vec<SocketId> {
        self.read().sockets.keys().copied().collect()
    }

    /// How many sockets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().sockets.len()
    }

    /// Whether there are no sockets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a socket into a room. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The name cannot be a room's, the socket is not in the namespace, or there are as many rooms as there may be.
    pub fn join(&self, socket: &Arc<Socket>, room: &str) -> Result<(), JoinError> {
        if !Self::is_room_name(room) {
            return Err(JoinError::InvalidName);
        }
        let members = &mut *self.write();
        if !members.sockets.contains_key(&socket.id()) {
            return Err(JoinError::Closed);
        }
        let joined = members.joined.entry(socket.id()).or_default();
        let known = members.by_name.get(room).copied();
        if known.is_some_and(|room| joined.contains(&room)) {
            return Ok(());
        }
        if joined.len() >= self.rooms_per_socket.load(Ordering::Relaxed)
            || (known.is_none()
                && (members.rooms.len() >= self.rooms_per_namespace.load(Ordering::Relaxed)
                    || !self.account.take(Held::Rooms, 1)))
        {
            return Err(JoinError::TooMany);
        }
        let room = known.unwrap_or_else(|| {
            let name: Arc<str> = room.into();
            let room = Room {
                name: name.clone(),
                members: Sockets::default(),
            };
            let id = members.rooms.insert(room);
            self.toggle(|| Place::Room(name.clone()));
            members.by_name.insert(name, id);
            id
        });
        joined.insert(room);
        members.rooms[room]
            .members
            .insert(socket.id(), socket.clone());
        Ok(())
    }

    /// Takes a socket out of a room. Nothing happens when it is not in it.
    pub fn leave(&self, id: SocketId, room: &str) {
        let members = &mut *self.write();
        let Some(found) = members.by_name.get(room) else {
            return;
        };
        let joined = members.joined.get_mut(&id);
        if joined.is_some_and(|joined| joined.remove(found)) {
            let room = *found;
            members.leave(room, id, self);
        }
    }

    /// Whether the socket is in the room.
    #[must_use]
    pub fn is_member(&self, id: SocketId, room: &str) -> bool {
        let members = self.read();
        let room = members.by_name.get(room);
        let joined = members.joined.get(&id);
        joined
            .zip(room)
            .is_some_and(|(joined, room)| joined.contains(room))
    }

    /// The rooms a socket is in.
    #[must_use]
    pub fn rooms_of(&self, id: SocketId) -> Vec<Arc<str>> {
        let members = self.read();
        let joined = members.joined.get(&id);
        joined.map_or(Vec::new(), |joined| members.names(joined))
    }

    /// The names of all rooms.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.read().by_name.keys().cloned().collect()
    }

    /// The ids of a room's members.
    #[must_use]
    pub fn room_members(&self, room: &str) -> Vec<SocketId> {
        let members = self.read();
        let sockets = members.of(room).into_iter().flat_map(IndexMap::keys);
        sockets.copied().collect()
    }

    /// How many rooms there are.
    #[must_use]
    pub fn rooms_len(&self) -> usize {
        self.read().rooms.len()
    }

    /// Whether anybody is in a place.
    #[must_use]
    pub fn is_in_use(&self, place: &Place) -> bool {
        let members = self.read();
        match place {
            Place::Whole => !members.sockets.is_empty(),
            Place::Room(name) => members.by_name.contains_key(name),
        }
    }

    /// How many sockets are in a room.
    #[must_use]
    pub fn room_len(&self, room: &str) -> usize {
        self.read().of(room).map_or(0, IndexMap::len)
    }

    /// Queues the frame of a message to one of its sockets, see [`Socket::send`].
    ///
    /// # Errors
    /// The socket is closed, or its peer reads too slowly.
    pub fn send(&self, socket: &Arc<Socket>, frame: Frame) -> Result<(), SendError> {
        self.traffic.count_sent(1, frame.wire_len());
        socket.send(frame)
    }

    /// Queues a frame to an audience. Returns how many sockets were addressed; those that are closing and those that
    /// read too slowly to get it are addressed too.
    pub fn deliver(&self, audience: Audience<'_>, frame: &Frame) -> u32 {
        let members = self.read();
        let (sockets, except) = match audience {
            Audience::Everybody => (Some(&members.sockets), None),
            Audience::Room { name, except } => (members.of(name), except),
        };
        let mut shared = Shared::new(frame);
        let mut addressed = 0;
        for (id, socket) in sockets.into_iter().flatten() {
            if Some(*id) != except {
                // What becomes of a socket that does not take it, its outbox decides.
                let _ = socket.send_shared(&mut shared);
                addressed += 1;
            }
        }
        self.traffic.count_sent(addressed, frame.wire_len());
        addressed
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let rooms = self.read().rooms.len();
        self.account.give_back(Held::Rooms, rooms as u64);
    }
}
