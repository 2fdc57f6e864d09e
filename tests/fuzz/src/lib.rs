//! Fuzz targets: what the host reads from others, given any bytes at all.
//!
//! Each target is a function of bytes that panics when a promise is broken. It returns what it has seen, in numbers, so
//! that a driver without instrumentation can tell an input that leads somewhere new, see [`drive`]. The drivers are
//! `tests/fuzz.rs` and, for machines with cargo-fuzz, `cargo-fuzz/`.

mod boundary;
mod compression;
mod configuration;
mod descriptor;
pub mod drive;
mod frames;
mod handshake;
pub mod mutate;
mod proxy;
mod publication;
mod reader;
mod section;
mod world;

pub use boundary::boundary;
pub use compression::compression;
pub use configuration::configuration;
pub use descriptor::descriptor;
pub use handshake::handshake;
pub use proxy::proxy;
pub use publication::publication;
pub use reader::reader;
pub use section::section;

use std::hash::{DefaultHasher, Hash, Hasher};

/// What was seen, in numbers without an order. The same input gives mostly the same.
pub type Seen = Vec<u64>;

/// What can be fuzzed.
pub struct Target {
    /// What it is called, which is the name of its folder in `corpus/` too.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]) -> Seen,
    /// What its inputs are likely to consist of.
    pub words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    section::TARGET,
    descriptor::TARGET,
    configuration::TARGET,
    compression::TARGET,
    boundary::TARGET,
    reader::TARGET,
    handshake::TARGET,
    proxy::TARGET,
    publication::TARGET,
];

/// A message as a number, the same for messages of one kind: what is quoted in it and its numbers do not count.
fn kind(message: &str) -> u64 {
    let mut plain = String::new();
    let mut quote = None;
    let mut escaped = false;
    for c in message.chars() {
        match quote {
            None if matches!(c, '"' | '`') => quote = Some(c),
            None => plain.push(c),
            Some(begun) if c == begun && !escaped => quote = None,
            Some(_) => (),
        }
        escaped = c == '\\' && !escaped;
    }
    let mut hasher = DefaultHasher::new();
    let words = plain.split_whitespace();
    let telling = words.filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    telling.for_each(|word| word.hash(&mut hasher));
    // Few enough that a message which shows a part of the input does not make each input a new one.
    hasher.finish() % 512
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn messages_of_one_kind_are_one_number() {
        assert_eq!(
            kind(r#"the path "/a \"b" is over 5 bytes (at offset 0x1f)"#),
            kind(r#"the path "" is over 256 bytes (at offset 0xab)"#)
        );
        assert_ne!(kind("`a` is over 5"), kind("`a` is under 5"));
    }
}
