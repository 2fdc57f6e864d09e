//! The writing half of a connection: everything that waits in the outbox, in one write.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::hub::{Batch, Outbox};

/// Frames in one write. Beyond some dozens a longer list saves nothing.
const MAX_SLICES: usize = 64;

/// Writes what the outbox holds until there will be nothing more.
///
/// # Errors
/// The connection is broken.
pub(super) async fn run(stream: &mut (impl AsyncWrite + Unpin), outbox: &Outbox) -> io::Result<()> {
    let mut batch = Batch::new();
    while poll_fn(|cx| outbox.poll_take(cx, &mut batch)).await {
        while let Some(first) = batch.pop_front() {
            write(stream, outbox, first.into_bytes(), &mut batch).await?;
        }
    }
    Ok(())
}

/// Writes the first frame, and with it as many of those behind it as go along.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    outbox: &Outbox,
    mut first: Bytes,
    batch: &mut Batch,
) -> io::Result<()> {
    while first.has_remaining() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[0] = IoSlice::new(&first);
        let mut count = 1;
        for (slice, frame) in slices[1..].iter_mut().zip(batch.iter()) {
            *slice = IoSlice::new(frame.as_bytes());
            count += 1;
        }
        let mut written = match count {
            1 => stream.write(&first).await?,
            _ => stream.write_vectored(&slices[..count]).await?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbox.written(written);
        loop {
            let of_first = written.min(first.len());
            first.advance(of_first);
            written -= of_first;
            if first.has_remaining() {
                break;
            }
            match batch.pop_front() {
                Some(next) => first = next.into_bytes(),
                None => break,
            }
        }
    }
    Ok(())
}
