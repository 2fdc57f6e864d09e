//! The writing half of a connection: everything that waits in the outbox, in one write.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::hub::{Batch, Outbox};

/// Frames in one write. Beyond some dozens a longer list saves nothing.
const MAX_SLICES: usize = 64;

/// Writes what the outbox holds until there will be nothing more.
///
/// # Errors
/// The connection is broken.
pub(super) async fn run(stream: &mut (impl AsyncWrite + Unpin), outbox: &Outbox) -> io::Result<()> {
    let mut batch = Batch::new();
    let mut written = 0;
    while poll_fn(|cx| outbox.poll_take(cx, written, &mut batch)).await {
        written = poll_fn(|cx| write(stream, cx, &mut batch)).await?;
        while !batch.is_empty() {
            outbox.written(written);
            written = poll_fn(|cx| write(stream, cx, &mut batch)).await?;
        }
    }
    Ok(())
}

/// Writes once, and takes what was written out of the batch. Returns how many bytes that were.
fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    batch: &mut Batch,
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    let written = if let [frame] = batch.make_contiguous() {
        ready!(stream.poll_write(cx, frame.as_bytes()))?
    } else {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(batch.iter()) {
            *slice = IoSlice::new(frame.as_bytes());
            count += 1;
        }
        ready!(stream.poll_write_vectored(cx, &slices[..count]))?
    };
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    let mut left = written;
    while let Some(frame) = batch.front_mut().filter(|_| left > 0) {
        let of_frame = left.min(frame.wire_len());
        left -= of_frame;
        if of_frame == frame.wire_len() {
            batch.pop_front();
        } else {
            frame.skip(of_frame);
        }
    }
    Poll::Ready(Ok(written))
}
