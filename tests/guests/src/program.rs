//! How bytes are read as calls of the host with their arguments. Any bytes mean something, and most programs can be
//! written as text. Where the bytes end too early, the rest is zeros.

use std::fmt;

/// What a text or a payload can be called by one byte. A program that is found at random should meet names that exist.
const TEXTS: [&str; 20] = [
    "",
    "a",
    "b",
    "c",
    "room",
    "/driven",
    "/other",
    "/acme/driven",
    "/zeta/driven",
    "/",
    "..",
    "/../zeta/driven",
    "a\nb",
    "a\0",
    "\u{e4}\u{10ffff}",
    "null",
    "{\"a\":[1]}",
    "greeting",
    "*",
    "0000000000000000000000000000000000000000",
];

/// At and around the limits that there are.
const SIZES: [u32; 20] = [
    1, 2, 64, 122, 123, 124, 125, 126, 127, 128, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536,
    65_537, 300_000,
];

const CODES: [u16; 16] = [
    1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 2999, 3000, 4999, 5000, 0, 65_535,
];

const NUMBERS: [u64; 10] = [
    0,
    1,
    1000,
    1 << 31,
    1 << 32,
    1 << 62,
    1 << 63,
    (1 << 63) - 1,
    u64::MAX - 1,
    u64::MAX,
];

/// What is left of a program.
#[derive(Clone)]
pub struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    /// From its beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let byte = self.peek();
        self.0 = self.0.get(1..).unwrap_or_default();
        byte
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// How many of something: 0 to 9 by its digit, others by any other byte.
    pub fn count(&mut self) -> usize {
        match self.byte() {
            digit @ b'0'..=b'9' => usize::from(digit - b'0'),
            byte => byte.into(),
        }
    }

    /// A length.
    pub fn size(&mut self) -> u64 {
        pick(self.byte(), &SIZES).into()
    }

    /// A close code.
    pub fn code(&mut self) -> u16 {
        pick(self.byte(), &CODES)
    }

    /// A number.
    pub fn number(&mut self) -> u64 {
        pick(self.byte(), &NUMBERS)
    }

    /// A payload.
    pub fn bytes(&mut self) -> Vec<u8> {
        self.text(&[])
    }

    /// A text, which need not be UTF-8: between quotes as it stands, behind `~` a byte so many times, behind `#` one of
    /// `ids`, else one that has a name.
    pub fn text(&mut self, ids: &[String]) -> Vec<u8> {
        match self.byte() {
            b'"' => {
                let end = self.0.iter().position(|byte| *byte == b'"');
                let (text, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
                self.0 = rest.get(1..).unwrap_or_default();
                text.to_vec()
            }
            b'~' => {
                let byte = self.byte();
                vec![byte; self.size() as usize]
            }
            b'#' if !ids.is_empty() => ids[usize::from(self.byte()) % ids.len()]
                .clone()
                .into_bytes(),
            name => pick(name, &TEXTS).into(),
        }
    }
}

/// One of a table: `A` is the first.
fn pick<T: Copy>(byte: u8, of: &[T]) -> T {
    of[usize::from(byte.wrapping_sub(b'A')) % of.len()]
}

/// Which calls ended how: a set of some hundred pairs, in which two may happen to be one.
#[derive(Default)]
pub struct Tally([u64; 8]);

impl Tally {
    /// A call has ended so.
    pub fn note(&mut self, call: u8, ended: u8) {
        let place = (usize::from(call) * 31 + usize::from(ended) * 7) % 512;
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tally")?;
        self.0.iter().try_for_each(|word| write!(f, " {word:x}"))
    }
}
