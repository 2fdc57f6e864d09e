//! Makes inputs of other inputs.

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of 0 to `n` - 1; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.draw() as u8
    }

    /// Short mostly, and long now and then.
    fn length(&mut self, most: usize) -> usize {
        let most = if self.below(4) == 0 {
            most
        } else {
            most.min(8)
        };
        self.below(most + 1)
    }
}

/// The longest input that is made.
pub const MAX_LENGTH: usize = 4096;

/// An input made of one of `pool`, changed in one place or some.
pub fn mutate(random: &mut Random, pool: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = one_of(random, pool).to_vec();
    for _ in 0..=random.length(16) {
        change(random, &mut input, pool, words);
    }
    input.truncate(MAX_LENGTH);
    input
}

fn one_of<'a>(random: &mut Random, pool: &'a [Vec<u8>]) -> &'a [u8] {
    match pool.is_empty() {
        true => &[],
        false => &pool[random.below(pool.len())],
    }
}

fn change(random: &mut Random, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    let at = random.below(input.len() + 1);
    let end = at + random.length(input.len() - at);
    match random.below(10) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.byte();
            }
        }
        // Numbers stand beside their like.
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(if random.below(2) == 0 { 1 } else { 255 });
            }
        }
        3 => drop(input.drain(at..end)),
        4 => {
            let byte = random.byte();
            let count = random.length(300);
            input.splice(at..at, std::iter::repeat_n(byte, count));
        }
        5 => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        6 | 7 if !words.is_empty() => {
            let word = words[random.below(words.len())];
            let end = if random.below(2) == 0 { at } else { end };
            input.splice(at..end, word.bytes());
        }
        8 => {
            let other = one_of(random, pool);
            let from = random.below(other.len() + 1);
            let to = from + random.length(other.len() - from);
            input.splice(at..end, other[from..to].iter().copied());
        }
        // The end of another one.
        _ => {
            let other = one_of(random, pool);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend(&other[from..]);
        }
    }
    input.truncate(MAX_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_inputs() {
        let pool = [b"hello".to_vec(), Vec::new()];
        let inputs = |seed| {
            let mut random = Random::new(seed);
            let inputs = (0..100).map(|_| mutate(&mut random, &pool, &["word"]));
            inputs.collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().any(|input| input.contains(&b'w')));
    }

    #[test]
    fn nothing_is_needed_to_begin_with() {
        let mut random = Random::new(7);
        let longest = (0..2000).map(|_| mutate(&mut random, &[], &[]).len()).max();
        assert!(longest > Some(0));
        assert!(longest <= Some(MAX_LENGTH));
    }
}
