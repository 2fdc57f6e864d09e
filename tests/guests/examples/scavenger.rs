//! Looks for what others have left in memory. `hide` fills much of it and traps, so that the memory is given back as it is;
//! `seek` grows its memory by as much and answers how many of the new bytes are not zero.

use std::hint::black_box;

use tulpar::prelude::*;

const BYTES: usize = 48 << 20;
#[cfg(target_family = "wasm")]
const PAGE: usize = 64 << 10;

#[derive(Default)]
struct Scavenger;

#[tulpar::namespace(path = "/scavenger")]
impl Namespace for Scavenger {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        match message.as_text() {
            Some("hide") => {
                let secret = vec![0xa5_u8; BYTES];
                panic!("{} bytes hidden", black_box(secret).len());
            }
            _ => ws.send(seek().to_string()),
        }
    }
}

/// How many bytes are not zero in memory that is new.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "memory that no allocator knows")]
fn seek() -> usize {
    let begin = core::arch::wasm32::memory_grow(0, BYTES / PAGE);
    assert_ne!(begin, usize::MAX, "the memory does not grow");
    // SAFETY: these pages have just been added, and nobody else knows of them.
    let found = unsafe { std::slice::from_raw_parts((begin * PAGE) as *const u64, BYTES / 8) };
    found.iter().filter(|word| **word != 0).count()
}

#[cfg(not(target_family = "wasm"))]
fn seek() -> usize {
    0
}
