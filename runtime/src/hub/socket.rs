//! One socket: what the hub and the host functions know of a connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::compression::{Compressor, Shared};
use super::outbox::{Accepted, Outbox, SendError};
use super::{CloseCode, Frame, turn};
use crate::ids::SocketId;

/// A WebSocket connection as plugins see it. Its rooms are kept by its namespace.
pub struct Socket {
    id: SocketId,
    remote: IpAddr,
    values: Mutex<Option<Arc<str>>>,
    outbox: Outbox,
    /// Compresses what is sent, when the peer can inflate it.
    compressor: Option<Box<Compressor>>,
    /// When the peer gave its last sign of life.
    heard: AtomicU64,
    pub(super) left: OnceLock<Vec<Arc<str>>>,
}

impl Socket {
    /// A socket that is not in any namespace yet. `values` is the JSON text that the middlewares attached.
    #[must_use]
    pub fn new(id: SocketId, remote: IpAddr, values: Option<Arc<str>>, outbox: Outbox) -> Self {
        Self {
            id,
            remote,
            values: Mutex::new(values),
            outbox,
            compressor: None,
            heard: AtomicU64::new(0),
            left: OnceLock::new(),
        }
    }

    /// The same, with what compresses the messages to its peer, if anything does.
    #[must_use]
    pub fn compressing(mut self, compressor: Option<Box<Compressor>>) -> Self {
        self.compressor = compressor;
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// The peer's address.
    #[must_use]
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// The JSON text attached to it.
    #[must_use]
    pub fn values(&self) -> Option<Arc<str>> {
        self.values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the JSON text attached to it.
    pub fn set_values(&self, json: Arc<str>) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Some(json);
    }

    /// What waits to be written to it.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Queues a frame to the peer, which is written when this [`turn`](super::turn()) ends.
    ///
    /// # Errors
    /// See [`Outbox::send`].
    pub fn send(self: &Arc<Self>, frame: Frame) -> Result<(), SendError> {
        match &self.compressor {
            None => self.queue(frame),
            Some(compressor) => compressor.send(frame, |frame| self.queue(frame)),
        }
    }

    /// The same with a frame that goes to others too.
    pub(super) fn send_shared(self: &Arc<Self>, shared: &mut Shared<'_>) -> Result<(), SendError> {
        match &self.compressor {
            None => self.queue(shared.frame().clone()),
            Some(compressor) => compressor.send_shared(shared, |frame| self.queue(frame)),
        }
    }

    fn queue(self: &Arc<Self>, frame: Frame) -> Result<(), SendError> {
        if self.outbox.send(frame)? == Accepted::ToBeFlushed {
            turn::flush_at_the_end(self);
        }
        Ok(())
    }

    /// Begins the closing handshake on the host's behalf.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.outbox.close(Frame::close(Some(code as u16), reason));
    }

    /// Closes it on the host's behalf once its handler is done with the message in hand.
    pub fn close_between_messages(&self, code: CloseCode, reason: &str) {
        let frame = Frame::close(Some(code as u16), reason);
        self.outbox.close_between_messages(frame);
    }

    /// Takes note of a sign of life of the peer, at a time that only the connections' clock makes sense of.
    pub fn hear(&self, now: u64) {
        // Mostly it is the same still, and who else looks at this socket keeps its part of memory.
        if self.heard() != now {
            self.heard.store(now, Ordering::Relaxed);
        }
    }

    /// When the peer gave its last sign of life.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The rooms it was in when it left its namespace; none while it is in there.
    #[must_use]
    pub fn left(&self) -> Option<&[Arc<str>]> {
        self.left.get().map(Vec::as_slice)
    }
}
