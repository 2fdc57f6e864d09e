//! Grows its memory by 8 MiB with each message until it is refused, and writes to each page: all at once, that would take
//! longer than a call may. It keeps what it got until it is told to trap.

use tulpar::prelude::*;
use tulpar_hostile_guests::{is_attack, tell};

#[derive(Default)]
struct GrowingMemory;

#[tulpar::namespace(path = "/growing-memory")]
impl Namespace for GrowingMemory {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            return match grow() {
                true => tell(ws, "grown"),
                false => tell(ws, size()),
            };
        }
        if message.as_text() == Some("trap") {
            panic!("told to trap");
        }
        ws.send(message)
    }
}

#[cfg(target_family = "wasm")]
const PAGE: usize = 64 * 1024;

/// Whether it got more.
#[cfg(target_family = "wasm")]
fn grow() -> bool {
    use std::arch::wasm32::memory_grow;
    use std::ptr;

    const AT_ONCE: usize = 8 << 20;
    let pages = memory_grow::<0>(AT_ONCE / PAGE);
    if pages == usize::MAX {
        return false;
    }
    let start = pages * PAGE;
    for touched in (start..start + AT_ONCE).step_by(4096) {
        #[allow(unsafe_code, reason = "it was just given, and nobody else knows of it")]
        // SAFETY: the byte lies in pages that have just been added to the memory.
        unsafe {
            ptr::without_provenance_mut::<u8>(touched).write_volatile(1);
        }
    }
    true
}

/// How large the memory is, in bytes.
#[cfg(target_family = "wasm")]
fn size() -> usize {
    std::arch::wasm32::memory_size::<0>() * PAGE
}

#[cfg(not(target_family = "wasm"))]
fn grow() -> bool {
    false
}

#[cfg(not(target_family = "wasm"))]
fn size() -> usize {
    0
}
