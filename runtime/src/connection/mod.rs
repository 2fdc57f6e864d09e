//! One connection after its upgrade: from bytes to messages to the handler, and from the outbox to bytes.
//!
//! Reading and writing share one task. All that one turn of reading has the handler send, to this socket and to others,
//! is written when the turn ends; the writing half sees to what the operating system does not take then.

mod assembler;
mod decoder;
mod keepalive;
mod pace;
mod reader;
mod text;
mod writer;

use std::future::{Future, poll_fn};
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

pub use self::decoder::ProtocolError;
pub use self::keepalive::Keepalive;
use self::keepalive::{Listened, Verdict};
use self::pace::Pace;
pub use self::reader::{Incoming, Reader};
use crate::config::{Limits, Timeouts};
use crate::deflate::{Inflater, Side};
use crate::hub::{self, CloseCode, Frame, Next, Socket, State};
use crate::message::{CloseEvent, Message};
use crate::metrics::{Loss, Metrics};
use crate::namespace::{HandlerFailed, Namespace};
use crate::quota::{Account, Spent};
use crate::transport::{ReadHalf, WriteHalf};

/// What a connection needs to know of the configuration.
pub struct Settings {
    max_message_bytes: usize,
    messages_per_second: u32,
    close_timeout: Duration,
    inflating: Option<(Side, u32)>,
    keepalive: Arc<Keepalive>,
    metrics: Arc<Metrics>,
}

impl Settings {
    /// What the limits of a plugin and the server's times say; `keepalive` looks after the connection, and what happens to
    /// it is counted in `metrics`.
    #[must_use]
    pub fn new(
        limits: &Limits,
        timeouts: &Timeouts,
        keepalive: Arc<Keepalive>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            max_message_bytes: limits.max_message_bytes,
            messages_per_second: limits.socket_messages_per_second,
            close_timeout: timeouts.close(),
            inflating: None,
            keepalive,
            metrics,
        }
    }

    /// The same, for a client that compresses as agreed: a message may inflate to `ratio` times its size.
    #[must_use]
    pub fn inflating(mut self, client: Side, ratio: u32) -> Self {
        self.inflating = Some((client, ratio));
        self
    }

    fn inflater(&self) -> Option<Box<Inflater>> {
        let (client, ratio) = self.inflating?;
        let ratio = usize::try_from(ratio).unwrap_or(usize::MAX);
        Some(Box::new(Inflater::new(
            client,
            self.max_message_bytes,
            ratio,
        )))
    }
}

/// What counts a connection for as long as it is there.
pub trait Held {
    /// Lets go of it, but for what is returned: that the server is not done with it yet.
    fn release(self) -> impl Sized;
}

/// Serves an upgraded connection to its end. `received` is what came behind the request; `wire` is where the socket's
/// frames go; `held` is released at its end.
///
/// Not cancel-safe: on-close would not run.
///
/// Each idle connection costs as much memory as the future has at its largest. So it is not an async function, which
/// would keep its arguments beside what becomes of them.
pub fn serve<H: Held>(
    read: ReadHalf,
    received: Vec<u8>,
    wire: Arc<WriteHalf>,
    namespace: Arc<Namespace>,
    socket: Arc<Socket>,
    settings: Settings,
    held: H,
) -> impl Future<Output = ()> {
    let read = settings.keepalive.watch(&socket).listen(read);
    settings.metrics.socket();
    let inflater = settings.inflater();
    let mut reader = Reader::new(read, received, settings.max_message_bytes, inflater);
    let pace = Pace::new(settings.messages_per_second);
    let Settings {
        close_timeout,
        metrics,
        ..
    } = settings;
    async move {
        let unheard = {
            let mut conversation = Conversation {
                reader: &mut reader,
                pace: &pace,
                namespace: &namespace,
                socket: &socket,
                close_timeout,
                metrics: &metrics,
            };
            let mut conversing = pin!(conversation.run());
            let mut writing = pin!(writer::run(&wire, &socket));
            let mut written = false;
            let unheard = poll_fn(|cx| {
                hub::turn(|| {
                    let ended = conversing.as_mut().poll(cx);
                    written = written || writing.as_mut().poll(cx).is_ready();
                    ended
                })
            })
            .await;
            // The last frames, the close frame among them, get a moment more. Boxed, as it is rare.
            if !written && Box::pin(timeout(close_timeout, writing)).await.is_err() {
                socket.outbox().abort();
            }
            unheard
        };
        let in_order = socket.outbox().state() != State::Aborted;
        // The last ones to know the writing half let go of it, which ends it.
        socket.outbox().abort();
        drop(wire);
        poll_fn(|cx| socket.outbox().poll_swept(cx)).await;
        if in_order {
            // Closing with bytes unread would reset the connection and could cost the peer our last frames. Boxed, as
            // it comes once.
            let account = namespace.sockets().account();
            let _ = Box::pin(timeout(close_timeout, reader.discard(account))).await;
        }
        drop(reader);
        let rest = held.release();
        if let Some(event) = unheard {
            let close_late = async move {
                namespace.close_late(&socket, &event).await;
                drop(rest);
            };
            // Boxed, as it is rare.
            Box::pin(close_late).await;
        }
    }
}

/// The life of a socket, from on-open to on-close.
struct Conversation<'a> {
    reader: &'a mut Reader<Listened<ReadHalf>>,
    pace: &'a Pace,
    namespace: &'a Namespace,
    socket: &'a Arc<Socket>,
    close_timeout: Duration,
    metrics: &'a Metrics,
}

/// What a connection turns to between two events of its socket.
enum Turned<'a> {
    /// The peer has sent something.
    Incoming(Result<Incoming<'a>, ProtocolError>),
    /// What waited for the peer has all been written.
    Drained,
    /// The peer has been silent for long.
    Silent,
    /// The socket is not open any more.
    Closing,
}

impl Conversation<'_> {
    /// Returns how the socket ended when on-close has still to run: its plugin is in quarantine, and the peer should not
    /// have to wait for that.
    async fn run(&mut self) -> Option<CloseEvent> {
        let event = self.talk().await;
        // Whatever ended it, nothing more is accepted from here on.
        self.socket.outbox().close(Frame::close(None, ""));
        self.namespace.leave(self.socket).await;
        self.say_what_was_dropped();
        (!self.namespace.close(self.socket, &event).await).then_some(event)
    }

    /// Opens the socket and handles its messages until it ends, and says how it ended.
    async fn talk(&mut self) -> CloseEvent {
        let (namespace, socket, metrics) = (self.namespace, self.socket, self.metrics);
        if let Err(failed) = namespace.open(socket).await {
            self.tell(failed);
        }
        // A handler that sends again whenever all is written must not keep its peer from being heard.
        let mut drained_last = false;
        loop {
            let turned = self.turn(drained_last).await;
            drained_last = matches!(turned, Turned::Drained);
            match turned {
                Turned::Incoming(Ok(Incoming::Message(message))) => {
                    let account = namespace.sockets().account();
                    if account.spend_one(Spent::Messages).is_err() {
                        metrics.held_back();
                        // Boxed, as it is rare.
                        if !Box::pin(admitted(account, socket)).await {
                            // The next round sees to the end.
                            continue;
                        }
                    }
                    if let Err(failed) = namespace.message(socket, message).await {
                        self.tell(failed);
                    }
                }
                Turned::Incoming(Ok(Incoming::Ping(payload))) => {
                    // When it is not accepted the peer has more to read than that, or the socket is closing.
                    let _ = socket.send(Frame::pong(payload));
                }
                Turned::Incoming(Ok(Incoming::Pong)) => {}
                Turned::Incoming(Ok(Incoming::Close(code, reason))) => {
                    socket.outbox().close(Frame::close(code, ""));
                    return peer_closed(code, reason);
                }
                Turned::Incoming(Ok(Incoming::End)) => return self.dropped(),
                Turned::Incoming(Err(error)) => return self.fail(error),
                Turned::Drained => {
                    if socket.outbox().take_drained()
                        && let Err(failed) = namespace.drained(socket).await
                    {
                        self.tell(failed);
                    }
                }
                Turned::Silent => match self.reader.judge() {
                    Verdict::Wait => {}
                    // When it is not accepted the socket is closing, which the next round sees.
                    Verdict::Ping => _ = socket.send(Frame::ping(b"")),
                    Verdict::Drop => {
                        tracing::debug!(ns = namespace.sockets().path(), conn = %socket.id(), "no sign of life");
                        self.metrics.lost(Loss::Silent);
                        return self.dropped();
                    }
                },
                Turned::Closing => return self.closing_handshake().await,
            }
        }
    }

    /// What comes next. `drained_last`: whether the last was that all has been written.
    async fn turn(&mut self, drained_last: bool) -> Turned<'_> {
        let (pace, outbox, metrics) = (self.pace, self.socket.outbox(), self.metrics);
        let mut held_back = false;
        let account = self.namespace.sockets().account();
        let (mut waiting, mut paced) = (pin!(pace.wait()), false);
        let mut next = pin!(self.reader.next(account));
        poll_fn(|cx| {
            let (drained, nudged) = match ready!(outbox.poll_next(cx)) {
                Next::Read { drained, nudged } => (drained, nudged),
                Next::Look => return Poll::Ready(Turned::Silent),
                Next::Close => return Poll::Ready(Turned::Closing),
            };
            if drained && !drained_last {
                return Poll::Ready(Turned::Drained);
            }
            if !paced {
                paced = waiting.as_mut().poll(cx).is_ready();
                if !paced && !replace(&mut held_back, true) {
                    metrics.held_back();
                }
            }
            if paced && let Poll::Ready(incoming) = next.as_mut().poll(cx) {
                if let Ok(Incoming::Message(_)) = incoming {
                    pace.count();
                }
                return Poll::Ready(Turned::Incoming(incoming));
            }
            match drained {
                true => Poll::Ready(Turned::Drained),
                // Who is not read from now cannot be heard.
                false if nudged && paced => Poll::Ready(Turned::Silent),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the peer's answer to our close frame, leaving aside what it sent before.
    async fn closing_handshake(&mut self) -> CloseEvent {
        self.reader.leave_messages_aside();
        poll_fn(|cx| self.socket.outbox().poll_swept(cx)).await;
        let account = self.namespace.sockets().account();
        let answered = async {
            loop {
                match self.reader.next(account).await {
                    Ok(Incoming::Close(code, reason)) => return Some(peer_closed(code, reason)),
                    Ok(Incoming::End) => return None,
                    Ok(_) => {}
                    Err(error) => {
                        return Some(CloseEvent {
                            code: error.close_code() as u16,
                            reason: error.to_string(),
                        });
                    }
                }
            }
        };
        let aborted = poll_fn(|cx| self.socket.outbox().poll_aborted(cx));
        let outcome = tokio::select! {
            biased;
            () = aborted => None,
            answer = timeout(self.close_timeout, answered) => answer.ok().flatten(),
        };
        outcome.unwrap_or_else(|| self.dropped())
    }

    /// The connection is gone, or as good as gone.
    fn dropped(&self) -> CloseEvent {
        self.socket.outbox().abort();
        CloseEvent {
            code: 1006,
            reason: String::new(),
        }
    }

    /// The peer broke the protocol or a limit: it is told why, and not listened to any more.
    fn fail(&self, error: ProtocolError) -> CloseEvent {
        tracing::debug!(ns = self.namespace.sockets().path(), conn = %self.socket.id(), "{error}");
        self.metrics.lost(match error.close_code() {
            CloseCode::MessageTooBig => Loss::Size,
            CloseCode::InvalidPayload => Loss::Payload,
            CloseCode::TryAgainLater => Loss::Receiving,
            _ => Loss::Protocol,
        });
        let reason = error.to_string();
        self.socket.close(error.close_code(), &reason);
        CloseEvent {
            code: error.close_code() as u16,
            reason,
        }
    }

    /// Says once for each socket that its peer has not got everything.
    fn say_what_was_dropped(&self) {
        let dropped = self.socket.outbox().dropped();
        if dropped > 0 {
            tracing::debug!(ns = self.namespace.sockets().path(), conn = %self.socket.id(), dropped, "a slow consumer");
            if self.socket.outbox().is_given_up() {
                self.metrics.lost(Loss::Slow);
            }
        }
    }

    /// Tells the peer that its handler failed, and begins to close.
    fn tell(&self, _: HandlerFailed) {
        let error = serde_json::json!({
            "type": "error",
            "message": "Server error occurred",
            "timestamp": humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
        });
        // When it is not accepted the socket is closing already.
        let _ = self
            .socket
            .send(Frame::message(Message::Text(&error.to_string())));
        self.socket.close(CloseCode::InternalError, "Handler error");
    }
}

/// Waits until the tenant and the plugin may get one more message. Returns whether it still is to be handled: not when the
/// socket ends meanwhile.
async fn admitted(account: &Account, socket: &Socket) -> bool {
    let mut waiting = pin!(account.wait_for_one(Spent::Messages));
    poll_fn(|cx| match socket.outbox().poll_next(cx) {
        Poll::Ready(Next::Close) => Poll::Ready(false),
        _ => waiting.as_mut().poll(cx).map(|()| true),
    })
    .await
}

fn peer_closed(code: Option<u16>, reason: &str) -> CloseEvent {
    CloseEvent {
        code: code.unwrap_or(1005),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Hold;

    /// As large as what the handshake has it hold.
    struct Holds {
        _connection: Arc<()>,
        _counted: Option<Box<()>>,
        _open: Hold,
    }

    impl Held for Holds {
        fn release(self) -> impl Sized {
            (self._connection.clone(), self._open)
        }
    }

    /// The size of the future that such a function returns.
    fn size_of_future<A, B, C, D, E, F, G, H>(_: impl Fn(A, B, C, D, E, F, G) -> H) -> usize {
        size_of::<H>()
    }

    /// Tokio adds 104 bytes and has each task begin at a multiple of 128: what is one byte larger takes 128 more.
    #[test]
    fn a_connections_task_takes_one_and_a_half_kibibytes() {
        let size = size_of_future(serve::<Holds>);
        assert!(size + 104 <= 1536, "{size} bytes");
    }
}
