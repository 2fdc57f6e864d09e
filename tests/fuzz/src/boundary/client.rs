//! Sockets of a namespace, and what their peers get.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tulpar_runtime::config::{Limits, SlowConsumer};
use tulpar_runtime::hub::{Namespace, Outbox, Socket, Wire};
use tulpar_runtime::ids::{NodeId, SocketId};
use tulpar_runtime::quota::Account;

use crate::frames;

/// How a peer takes what is written to it.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// As it comes.
    Fast,
    /// Seven bytes now and then.
    Slow,
    /// Not at all.
    Stuck,
}

/// A peer, with what it got.
struct Tap {
    peer: Peer,
    rests: AtomicBool,
    got: Mutex<Vec<u8>>,
}

impl Wire for Tap {
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = match self.peer {
            Peer::Fast => usize::MAX,
            Peer::Slow if !self.rests.fetch_xor(true, Ordering::Relaxed) => 7,
            Peer::Slow | Peer::Stuck => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let mut got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let before = got.len();
        for part in bytes {
            let left = most - (got.len() - before);
            got.extend(&part[..part.len().min(left)]);
        }
        Ok(got.len() - before)
    }
}

/// A socket and its peer.
pub struct Client {
    pub socket: Arc<Socket>,
    tap: Arc<Tap>,
}

impl Client {
    pub fn new(peer: Peer, limits: &Limits) -> Self {
        let tap = Arc::new(Tap {
            peer,
            rests: AtomicBool::new(false),
            got: Mutex::default(),
        });
        let node = NodeId::random().expect("there is randomness");
        let id = SocketId::random(node).expect("there is randomness");
        let address = [127, 0, 0, 1].into();
        // Each has its own, so that whatever is dropped leaves whole frames.
        let policy = match peer {
            Peer::Fast => SlowConsumer::DropNewest,
            Peer::Slow => SlowConsumer::DropOldest,
            Peer::Stuck => SlowConsumer::Close,
        };
        let outbox = Outbox::new(limits.outbox_bytes, policy, Arc::default(), tap.clone());
        let socket = Socket::new(id, address, None, outbox);
        Self {
            socket: Arc::new(socket),
            tap,
        }
    }

    /// Checks what it got. Returns how many frames that were.
    pub fn check(&self, limits: &Limits) -> usize {
        let got = self.tap.got.lock().unwrap_or_else(PoisonError::into_inner);
        frames::check(&got, limits.max_message_bytes, false)
    }

    pub fn got_nothing(&self) -> bool {
        let got = self.tap.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.is_empty() && self.socket.outbox().buffered() == 0
    }
}

/// A namespace that others serve, with one socket, which is in the rooms that a program is likely to name.
pub fn neighbour(path: &str, limits: &Limits) -> (Arc<Namespace>, Client) {
    let namespace = Namespace::new(None, path.to_owned(), limits, Account::unbounded());
    let client = Client::new(Peer::Fast, limits);
    namespace.insert(client.socket.clone());
    for room in ["a", "b", "room"] {
        let joined = namespace.join(&client.socket, room);
        joined.expect("there may be so many rooms");
    }
    (Arc::new(namespace), client)
}
