//! A client of a server in a test.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use tulpar_runtime::hub::{Namespace, Socket};

use crate::Message;
use crate::link::Link;
use crate::server::sorted;
use crate::world::World;

/// A client that is connected, and the socket that the plugin sees of it. When it is dropped, the connection breaks off,
/// as by [`Client::break_off`].
///
/// It reads what it is sent at once, and answers pings.
pub struct Client {
    world: Rc<World>,
    link: Rc<RefCell<Link>>,
    /// None: it was gone before anybody could look.
    socket: Option<(Arc<Namespace>, Arc<Socket>)>,
}

impl Client {
    pub(crate) fn new(
        world: Rc<World>,
        link: Link,
        namespace: Option<Arc<Namespace>>,
        socket: Option<Arc<Socket>>,
    ) -> Self {
        Self {
            link: world.keep(link),
            world,
            socket: namespace.zip(socket),
        }
    }

    /// Sends a message: text, bytes, or JSON as text. on-message has run, unless the server holds it back.
    ///
    /// # Panics
    /// The connection has been closed.
    #[track_caller]
    pub fn send(&self, message: impl Into<Message>) {
        let sent = self.link.borrow_mut().send(message.into());
        assert!(sent, "the connection is closed: {:?}", self.closed());
        self.world.settle();
    }

    /// All that has come since this was asked last.
    #[must_use]
    pub fn received(&self) -> Vec<Message> {
        self.link.borrow_mut().received().drain(..).collect()
    }

    /// The first of what has come since.
    ///
    /// # Panics
    /// Nothing has come.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Message {
        let first = self.link.borrow_mut().received().pop_front();
        match first {
            Some(message) => message,
            None => panic!("nothing has come, and the connection is {}", self.state()),
        }
    }

    /// Closes the connection as a client does. on-close has run.
    pub fn close(&self, code: u16, reason: &str) {
        self.link.borrow_mut().close(Some(code), reason);
        self.world.settle();
    }

    /// Ends the connection without a word, as when a network fails. on-close has run, with 1006.
    pub fn break_off(&self) {
        self.link.borrow_mut().break_off();
        self.world.settle();
    }

    /// The code and the reason with which the plugin or the server closed the connection: 1006 when it did without a
    /// word, 1005 when it said none. None of one that is open, or that the client closed itself.
    #[must_use]
    pub fn closed(&self) -> Option<(u16, String)> {
        self.link.borrow().closed()
    }

    /// Whether nobody has closed the connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.borrow().is_open()
    }

    /// From now on it reads nothing of what it is sent: a slow consumer.
    pub fn stop_reading(&self) {
        self.link.borrow_mut().is_deaf = true;
    }

    /// It reads again, also what has come meanwhile.
    pub fn read_on(&self) {
        self.link.borrow_mut().is_deaf = false;
        self.world.settle();
    }

    /// The id of its socket, by which plugins know it.
    ///
    /// # Panics
    /// The plugin has terminated the connection in on-open.
    #[must_use]
    #[track_caller]
    pub fn id(&self) -> String {
        self.socket().1.id().to_string()
    }

    /// The names of the rooms that its socket is in, sorted.
    ///
    /// # Panics
    /// See [`Client::id`].
    #[must_use]
    #[track_caller]
    pub fn rooms(&self) -> Vec<String> {
        let (namespace, socket) = self.socket();
        sorted(namespace.rooms_of(socket.id()))
    }

    /// What is attached to its socket, by middlewares or by the plugin; `null` when nothing is.
    ///
    /// # Panics
    /// See [`Client::id`].
    #[must_use]
    #[track_caller]
    pub fn values(&self) -> Value {
        let values = self.socket().1.values();
        // The server has checked it.
        values.map_or(Value::Null, |json| {
            serde_json::from_str(&json).unwrap_or_default()
        })
    }

    #[track_caller]
    fn socket(&self) -> &(Arc<Namespace>, Arc<Socket>) {
        match &self.socket {
            Some(socket) => socket,
            None => panic!("its socket was gone before on-open had ended"),
        }
    }

    fn state(&self) -> String {
        match self.closed() {
            Some((code, reason)) => format!("closed: {code} {reason:?}"),
            None if self.is_open() => "open".to_owned(),
            None => "closed by the client".to_owned(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // When nobody is left to see what comes of it, or the test has failed already, nothing has to.
        if self.is_open() && Rc::strong_count(&self.world) > 1 && !std::thread::panicking() {
            self.break_off();
        }
    }
}
