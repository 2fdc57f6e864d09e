//! Grows its memory page by page until it is refused, and writes to each page. It keeps what it got until it is told to
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
    loop {
        let page = memory_grow::<0>(1);
        if page == usize::MAX {
            return memory_size::<0>() * PAGE;
        }
        #[allow(
            unsafe_code,
            reason = "the page was just given to it, and nobody else knows of it"
        )]
        // SAFETY: `page` is the index of a page that has just been added to the memory.
        unsafe {
            ptr::write_bytes(ptr::without_provenance_mut::<u8>(page * PAGE), 1, PAGE);
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn grow() -> usize {
    0
}
