//! Fills tens of MiB of its memory in one instruction, over and over.

use std::hint::black_box;

use tulpar::prelude::*;
use tulpar_hostile_guests::{filled, is_attack};

#[derive(Default)]
struct HugeFill;

#[tulpar::namespace(path = "/huge-fill")]
impl Namespace for HugeFill {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let mut memory = filled(48 << 20);
            for byte in (0..=u8::MAX).cycle() {
                black_box(&mut memory).fill(byte);
            }
        }
        ws.send(message)
    }
}
