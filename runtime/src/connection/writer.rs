//! The writing half of a connection: what the operating system did not take when it was sent.

use std::future::{Future, poll_fn};
use std::task::Poll;

use tokio::task::yield_now;

use crate::hub::Socket;
use crate::transport::WriteHalf;

/// Writes what others have left in the outbox, whenever the operating system takes some, until there will be nothing
/// more. Not an async function, which would keep its arguments twice.
pub(super) fn run(wire: &WriteHalf, socket: &Socket) -> impl Future<Output = ()> {
    let outbox = socket.outbox();
    async move {
        while poll_fn(|cx| outbox.poll_left(cx)).await {
            let writable = poll_fn(|cx| match outbox.poll_aborted_writing(cx) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending => wire.poll_write_ready(cx).map(|ready| ready.is_ok()),
            });
            if !writable.await {
                return outbox.abort();
            }
            outbox.flush();
            // When there is so much that one flush does not write it all, others get their turn in between.
            yield_now().await;
        }
    }
}
