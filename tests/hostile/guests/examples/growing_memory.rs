//! Grows its memory MiB by MiB until it is refused, and writes to each page. It keeps what it got until it is told to
//! trap.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct GrowingMemory;

#[tulpar::namespace(path = "/growing-memory")]
impl Namespace for GrowingMemory {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            return tell(ws, grow());
        }
        if message.as_text() == Some("trap") {
            panic!("told to trap");
        }
        ws.send(message)
    }
}

/// The size of the memory when no more was given.
#[cfg(target_family = "wasm")]
fn grow() -> usize {
    use std::arch::wasm32::{memory_grow, memory_size};
    use std::ptr;

    const PAGE: usize = 64 * 1024;
    const AT_ONCE: usize = 16;
    loop {
        let page = memory_grow::<0>(AT_ONCE);
        if page == usize::MAX {
            return memory_size::<0>() * PAGE;
        }
        for touched in (page * PAGE..(page + AT_ONCE) * PAGE).step_by(4096) {
            #[allow(unsafe_code, reason = "it was just given, and nobody else knows of it")]
            // SAFETY: the byte lies in pages that have just been added to the memory.
            unsafe {
                ptr::without_provenance_mut::<u8>(touched).write_volatile(1);
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn grow() -> usize {
    0
}
