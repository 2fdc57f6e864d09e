//! Compressing messages and inflating them: permessage-deflate, RFC 7692.
//!
//! What is here knows bytes, and nothing of frames or sockets: [`negotiate`] reads a client's offers, [`deflate`]
//! compresses one whole message, an [`Inflater`] takes those of one client apart, as they come and within bounds.
//!
//! No socket has a compressor of its own. zlib's takes 370 KiB, which a server cannot have for each of its sockets; and
//! with a thousand of them in turn a message of 300 bytes took 22 µs, most of it waiting for memory. What makes the second
//! message smaller than the first is what was sent before it, so that is kept instead, the last 4 KiB of it, and the
//! thread's own compressor is shown it: 16 µs, and as small. So, too, a message that went to many sockets at once, compressed
//! once, is part of the history like any other.

mod deflater;
mod history;
mod inflater;
mod negotiate;

pub use deflater::{LARGEST, deflate};
pub use history::History;
pub use inflater::{InflateError, Inflater};
pub use negotiate::{Agreement, Side, negotiate};
