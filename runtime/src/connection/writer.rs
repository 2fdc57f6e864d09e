//! The writing half of a connection: what the operating system did not take when it was sent.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::yield_now;

use crate::hub::{Outbox, Wire};

impl Wire for OwnedWriteHalf {
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match bytes {
            [one] => OwnedWriteHalf::try_write(self, one),
            several => self.try_write_vectored(several),
        }
    }
}

/// Writes what others have left in the outbox, whenever the operating system takes some, until there will be nothing
/// more.
pub(super) async fn run(wire: &OwnedWriteHalf, outbox: &Outbox) {
    while poll_fn(|cx| outbox.poll_left(cx)).await {
        if poll_fn(|cx| wire.as_ref().poll_write_ready(cx))
            .await
            .is_err()
        {
            return outbox.abort();
        }
        outbox.flush();
        // When there is so much that one flush does not write it all, others get their turn in between.
        yield_now().await;
    }
}
