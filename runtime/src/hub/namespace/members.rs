//! Who is in a namespace and in its rooms.

use std::collections::{HashMap, HashSet, hash_set};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::take;
use std::sync::Arc;

use indexmap::IndexMap;
use slab::Slab;

use super::Namespace;
use crate::hub::{CloseCode, Place, Socket};
use crate::ids::SocketId;
use crate::quota::Held;

pub(super) type Sockets = IndexMap<SocketId, Arc<Socket>, BuildHasherDefault<IdHasher>>;

/// For how many members a room may keep places that nobody has.
const FEW: usize = 64;

#[derive(Default)]
pub(super) struct Members {
    /// Why who comes now has to go again; none while there is somebody to serve it.
    pub(super) ended: Option<(CloseCode, String)>,
    pub(super) sockets: Sockets,
    pub(super) rooms: Slab<Room>,
    /// An IndexMap keeps the hashes: when it grows, a hundred thousand names are not hashed again.
    pub(super) by_name: IndexMap<Arc<str>, RoomId>,
    pub(super) joined: HashMap<
        SocketId,
        HashSet<RoomId, BuildHasherDefault<IdHasher>>,
        BuildHasherDefault<IdHasher>,
    >,
}

/// Where a room is in the list. So the names, which may be long, are hashed once when a socket comes or goes.
pub(super) type RoomId = usize;

pub(super) struct Room {
    pub(super) name: Arc<str>,
    /// In an IndexMap the members lie side by side, which is how a publication walks them.
    pub(super) members: Sockets,
}

/// What is still to be done for a socket that goes.
pub struct Leaving {
    pub(super) rooms: hash_set::IntoIter<RoomId>,
    /// The names of the rooms that it is out of.
    pub(super) left: Vec<Arc<str>>,
}

impl Members {
    /// The members of a room; none when there is no such room.
    pub(super) fn of(&self, room: &str) -> Option<&Sockets> {
        let id = self.by_name.get(room)?;
        Some(&self.rooms.get(*id)?.members)
    }

    pub(super) fn names<S>(&self, rooms: &HashSet<RoomId, S>) -> Vec<Arc<str>> {
        let rooms = rooms.iter().filter_map(|id| self.rooms.get(*id));
        rooms.map(|room| room.name.clone()).collect()
    }

    /// Takes a socket out of so many more rooms. Returns whether these were all; it has left them then.
    pub(super) fn leave_some(
        &mut self,
        socket: &Socket,
        leaving: &mut Leaving,
        most: usize,
        namespace: &Namespace,
    ) -> bool {
        for room in leaving.rooms.by_ref().take(most) {
            leaving
                .left
                .extend(self.leave(room, socket.id(), namespace));
        }
        let done = leaving.rooms.len() == 0;
        if done {
            // It is in nobody's list any more, so that this happens once.
            socket.left.get_or_init(|| take(&mut leaving.left));
        }
        done
    }

    /// Takes a socket out of a room's list, and the room away when it was the last. Returns the room's name.
    pub(super) fn leave(
        &mut self,
        room: RoomId,
        id: SocketId,
        namespace: &Namespace,
    ) -> Option<Arc<str>> {
        let Room { name, members } = self.rooms.get_mut(room)?;
        let name = name.clone();
        members.swap_remove(&id);
        // A room that many have been in must not keep their places for ever.
        if members.capacity() > FEW && members.len() < members.capacity() / 4 {
            members.shrink_to(2 * members.len());
        }
        if members.is_empty() {
            self.by_name.swap_remove(&name);
            self.rooms.remove(room);
            namespace.account.give_back(Held::Rooms, 1);
            namespace.toggle(|| Place::Room(name.clone()));
        }
        Some(name)
    }
}

/// Socket ids are random already: some of their bits are as good a hash as any, and nobody outside can choose them. Nor can
/// anybody choose the numbers of rooms.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, random: u128) {
        self.0 = random as u64;
    }

    fn write_u32(&mut self, _node: u32) {}

    /// The number of a room, which the host has given.
    fn write_usize(&mut self, number: usize) {
        // hashbrown takes both ends of it; a multiplication spreads the number over all of it.
        self.0 = (number as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(32);
    }
}
