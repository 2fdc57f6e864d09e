//! What the socket's own connection asks of its outbox: its reading half between two messages, and its writing half.

use std::collections::VecDeque;
use std::mem::take;
use std::task::{Context, Poll, Waker};

use super::{Frame, Inner, Outbox, State, close};

/// Dropped frames that are let go in one go. Letting go of thousands takes milliseconds, which others would wait.
pub(super) const AT_ONCE: usize = 256;

/// What a reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Take the next message.
    Read {
        /// Whether the queue has emptied after it had been more than half full, or something had been dropped, see
        /// [`Outbox::take_drained`].
        drained: bool,
        /// Whether to see, when there is no next message, if the peer is still there, see [`Outbox::look`].
        nudged: bool,
    },
    /// Take none, but see whether the peer is still there.
    Look,
    /// See to the end: the socket is not open any more.
    Close,
}

/// What can be seen of the peer without reading from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether something waits that the operating system did not take, as the peer takes no more for now.
    pub stuck: bool,
    /// Whether, since the last look, it has taken more of that: so the peer has acknowledged something.
    pub moved: bool,
}

impl Outbox {
    /// For the writer: ready with true when something is queued that nobody else is about to write, with false when
    /// there will be nothing more.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.lock();
        let others_write = inner.promised || inner.wire.is_none();
        match (inner.frames.is_empty(), inner.state) {
            (_, State::Aborted) => Poll::Ready(false),
            (false, _) if !others_write => Poll::Ready(true),
            (true, State::Closing) if !others_write => Poll::Ready(false),
            _ => {
                park(&mut inner.writer, cx);
                Poll::Pending
            }
        }
    }

    /// For the writer, while it waits for the operating system to take something: ready when the connection is to be
    /// dropped.
    pub fn poll_aborted_writing(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.state == State::Aborted {
            return Poll::Ready(());
        }
        park(&mut inner.writer, cx);
        Poll::Pending
    }

    /// For the connection when the socket is not open any more: ready when all that was dropped has been let go.
    pub fn poll_swept(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        let swept = inner.sweep(cx);
        let clean = inner.litter.is_empty();
        drop(inner);
        drop(swept);
        match clean {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// For the reader, between two messages: whether to take the next one or to close. Pending while more than half of
    /// the outbox is full: a peer that sends faster than it reads is held back, instead of being dropped for answers
    /// to its own messages.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return Poll::Ready(Next::Close);
        }
        if let Some(frame) = inner.parting.take() {
            close(inner, *frame);
            return Poll::Ready(Next::Close);
        }
        park(&mut inner.reader, cx);
        let nudged = inner.nudged;
        if !inner.pressed && inner.litter.is_empty() {
            let drained = false;
            return Poll::Ready(Next::Read { drained, nudged });
        }
        let swept = inner.sweep(cx);
        let drained = inner.pressed && inner.bytes == 0;
        let held_back = inner.full() > self.capacity / 2;
        inner.held_back = held_back;
        drop(inner);
        drop(swept);
        match (held_back, nudged) {
            (false, nudged) => Poll::Ready(Next::Read { drained, nudged }),
            (true, true) => Poll::Ready(Next::Look),
            (true, false) => Poll::Pending,
        }
    }

    /// For the reader: ready when the connection is to be dropped.
    pub fn poll_aborted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.state == State::Aborted {
            return Poll::Ready(());
        }
        park(&mut inner.reader, cx);
        Poll::Pending
    }

    /// Whether the queue is empty after it had been more than half full, or something had been dropped. That is told once.
    pub fn take_drained(&self) -> bool {
        let mut inner = self.lock();
        let drained = inner.pressed && inner.bytes == 0;
        inner.pressed &= !drained;
        drained
    }

    /// What can be seen of the peer, in answer to [`Outbox::nudge`].
    pub fn look(&self) -> Seen {
        let mut inner = self.lock();
        inner.nudged = false;
        Seen {
            stuck: inner.stuck,
            moved: take(&mut inner.moved),
        }
    }
}

impl Inner {
    /// Some of what was dropped, to be let go when the lock is released. When there is more, the task comes again.
    fn sweep(&mut self, cx: &Context<'_>) -> VecDeque<Frame> {
        if self.litter.len() <= AT_ONCE {
            return take(&mut self.litter);
        }
        cx.waker().wake_by_ref();
        let rest = self.litter.len() - AT_ONCE;
        self.litter.split_off(rest)
    }
}

fn park(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
