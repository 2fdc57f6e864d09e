//! Copies tens of MiB within its memory in one instruction, over and over.

use std::hint::black_box;

use tulpar::prelude::*;
use tulpar_hostile_guests::{filled, is_attack};

#[derive(Default)]
struct HugeCopy;

#[tulpar::namespace(path = "/huge-copy")]
impl Namespace for HugeCopy {
    fn on_message(&mut self, ws: &Socket<()>, message: Message) -> Result<()> {
        if is_attack(&message) {
            let mut memory = filled(48 << 20);
            loop {
                black_box(&mut memory).copy_within(..47 << 20, 1 << 20);
            }
        }
        ws.send(message)
    }
}
