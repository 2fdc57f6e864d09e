//! Where the frames of a socket go, and how they get there: as many as there are in one write.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::Frame;

/// Frames in one write. Beyond some dozens a longer list saves nothing.
const MAX_SLICES: usize = 64;
/// Writes that are made in a row. Some hundred microseconds' worth; then others get their turn.
const MAX_WRITES: usize = 8;

/// Where the frames of a socket go.
pub trait Wire: Send + Sync {
    /// Writes as much as is taken at once. Returns how many bytes that were. A frame of which none was reported has
    /// not begun, and may be dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is taken now; otherwise the connection is broken.
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Takes everything and sends it nowhere.
impl Wire for io::Sink {
    fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(bytes.iter().map(|slice| slice.len()).sum())
    }
}

/// Writes frames from the front, and takes out what was written; `begun` tells whether that includes a part of the one
/// that is first then. Returns how many bytes that were, and whether the connection is intact. What is left is what the
/// operating system did not take, or what others should not have to wait for.
pub(super) fn write(
    wire: &dyn Wire,
    frames: &mut VecDeque<Frame>,
    begun: &mut bool,
) -> (usize, bool) {
    let mut total = 0;
    for _ in 0..MAX_WRITES {
        let Some(first) = frames.front() else {
            break;
        };
        let tried = if frames.len() == 1 {
            // Most writes are of one frame, and save the list.
            wire.try_write(&[IoSlice::new(first.as_bytes())])
        } else {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
                *slice = IoSlice::new(frame.as_bytes());
                count += 1;
            }
            wire.try_write(&slices[..count])
        };
        let mut left = match tried {
            Ok(0) => return (total, false),
            Ok(written) => written,
            Err(error) => return (total, error.kind() == io::ErrorKind::WouldBlock),
        };
        total += left;
        while let Some(frame) = frames.front_mut().filter(|_| left > 0) {
            let of_frame = left.min(frame.wire_len());
            left -= of_frame;
            *begun = of_frame < frame.wire_len();
            if *begun {
                frame.skip(of_frame);
            } else {
                frames.pop_front();
            }
        }
    }
    (total, true)
}
