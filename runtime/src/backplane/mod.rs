//! Where publications go: to the sockets of this node, and of the others when there are any.
//!
//! Whatever addresses more than one socket goes through here, even on a single node, so that there is one path and
//! not two. Whatever addresses or asks for sockets of other nodes does so too.

mod answer;
mod local;
mod nats;
mod numbers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use answer::{Answer, Question};
pub use local::Local;
pub use nats::NatsBackplane;
#[doc(hidden)]
pub use nats::{pieces, publication};
pub use numbers::{Numbers, Reason};

use crate::hub::{Audience, Frame, Namespace, SendError};
use crate::ids::SocketId;

/// Carries publications to the nodes that have members of the audience.
pub trait Backplane: Send + Sync {
    /// From now on the sockets of a namespace are reached from other nodes, until it is dropped. Doing it twice is doing it
    /// once.
    fn attach(&self, _namespace: &Arc<Namespace>) {}

    /// Sends a frame to an audience of a namespace. The sockets of this node are served before it returns.
    fn publish(&self, namespace: &Namespace, audience: Audience<'_>, frame: &Frame) -> Published;

    /// Sends a frame to a socket of a namespace, wherever it is. What is sent afterwards arrives afterwards, also when the
    /// outcome is not awaited.
    fn send_to(&self, namespace: &Namespace, socket: SocketId, frame: &Frame) -> Sending {
        Sending::Done(send_here(namespace, socket, frame))
    }

    /// Asks all nodes about a namespace.
    fn ask<'a>(&'a self, namespace: &'a Namespace, question: Question) -> Asking<'a> {
        let answer = question.answer(namespace);
        Box::pin(async move { Answer::of([answer], 1, 0) })
    }

    /// Tells the others that this node goes.
    fn leave(&self) -> Leaving<'_> {
        Box::pin(std::future::ready(()))
    }

    /// What it has come to.
    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
}

/// What came of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// How many sockets of this node were addressed.
    pub here: u32,
    /// Whether it was handed on to other nodes.
    pub elsewhere: Result<(), NotCarried>,
}

/// Why something did not reach other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// There is no connection.
    #[error("this node is cut off from the others")]
    CutOff,
    /// Too much waits already.
    #[error("too much waits to be sent to other nodes (backplane.queue-bytes)")]
    Full,
}

/// A message on its way to one socket.
pub enum Sending {
    /// It has arrived, or not.
    Done(Result<(), SendFailure>),
    /// Another node will tell.
    Waiting(Pin<Box<dyn Future<Output = Result<(), SendFailure>> + Send>>),
}

/// A question under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A farewell on its way.
pub type Leaving<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Why a message did not reach a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// There is no such socket.
    #[error("there is no such socket")]
    Unknown,
    /// It did not take it.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// It could not be sent to the socket's node.
    #[error(transparent)]
    NotCarried(#[from] NotCarried),
    /// The socket's node has not said that it took it.
    #[error("the socket's node does not answer")]
    Silent,
}

/// Sends a frame to a socket of this node.
fn send_here(namespace: &Namespace, socket: SocketId, frame: &Frame) -> Result<(), SendFailure> {
    let socket = namespace.get(socket).ok_or(SendFailure::Unknown)?;
    Ok(namespace.send(&socket, frame.clone())?)
}
