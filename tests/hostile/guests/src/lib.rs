//! What the hostile guests share.
//!
//! A guest is harmless until a client sends it the word `attack`; all else comes back as it is, which shows whether it is
//! still served. One guest stands for one row of the gauntlet, but for the flood, which calls the import that it is told.

use std::time::{Duration, Instant};

use tulpar::prelude::*;

/// The word at which a guest does its harm.
pub const ATTACK: &str = "attack";

/// What a guest that is still there after its harm begins its answer with.
pub const OUTCOME: &str = "outcome: ";

/// Whether the message is the word.
pub fn is_attack(message: &Message) -> bool {
    message.as_text() == Some(ATTACK)
}

/// Tells the client how the harm went.
///
/// # Errors
/// When the socket takes nothing any more.
pub fn tell<D>(ws: &Socket<D>, outcome: impl std::fmt::Display) -> Result<()> {
    ws.send(format!("{OUTCOME}{outcome}"))
}

/// Memory that is there: each page has been written to.
pub fn filled(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0; bytes];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    memory
}

/// A little less than the default deadline of 50 ms.
const JUST_IN_TIME: Duration = Duration::from_millis(35);

/// Does it again and again for a little less than a call may take, so that nobody stops it, or until it is refused. How
/// often that was.
pub fn burst(mut deed: impl FnMut(u64) -> bool) -> u64 {
    // The clock is a function of the host's too, and is asked seldom.
    const ROUND: u64 = 32;
    let end = Instant::now() + JUST_IN_TIME;
    for number in 0.. {
        if (number % ROUND == 0 && Instant::now() >= end) || !deed(number) {
            return number;
        }
    }
    unreachable!("the time is up before")
}
