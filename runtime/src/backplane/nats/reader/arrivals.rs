//! What has arrived already: while a node goes over from one subscription to another, a message may come by both.

use std::collections::HashMap;

use crate::ids::NodeId;

/// How far back is remembered, for each node: more of what it sends to the namespace than may wait in the queue of one
/// subscription.
const WINDOW: u64 = 32 << 10;
const WORDS: u64 = WINDOW / 64;
/// Nodes that are remembered. There are never as many at once.
const NODES: usize = 1024;

/// Which numbers of each node have arrived.
#[derive(Default)]
pub(super) struct Arrivals(HashMap<NodeId, Window>);

struct Window {
    highest: u64,
    seen: Box<[u64]>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            highest: 0,
            seen: vec![0; WORDS as usize].into(),
        }
    }
}

impl Arrivals {
    /// Whether this one has not arrived before. What is too old to be remembered has not.
    pub(super) fn is_new(&mut self, (node, number): (NodeId, u64)) -> bool {
        if self.0.len() >= NODES && !self.0.contains_key(&node) {
            self.0.clear();
        }
        self.0.entry(node).or_default().is_new(number)
    }

    /// Whether it is remembered that this one has.
    pub(super) fn has(&self, (node, number): (NodeId, u64)) -> bool {
        self.0.get(&node).is_some_and(|window| window.has(number))
    }
}

impl Window {
    fn is_new(&mut self, number: u64) -> bool {
        let (word, newest) = (number / 64, self.highest / 64);
        if word + WORDS <= newest {
            return true;
        }
        // What is between the two has not arrived.
        for passed in (newest + 1..=word).take(WORDS as usize) {
            self.seen[(passed % WORDS) as usize] = 0;
        }
        if word > newest + WORDS {
            self.seen[(word % WORDS) as usize] = 0;
        }
        self.highest = self.highest.max(number);
        let word = &mut self.seen[(word % WORDS) as usize];
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn has(&self, number: u64) -> bool {
        let (word, newest) = (number / 64, self.highest / 64);
        let is_remembered = word <= newest && newest < word + WORDS;
        is_remembered && self.seen[(word % WORDS) as usize] & (1 << (number % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once() {
        let node = NodeId::random().unwrap();
        let mut arrivals = Arrivals::default();
        let mut is_new = |number| arrivals.is_new((node, number));
        for number in [
            1,
            2,
            5,
            3,
            4,
            1_000,
            2_000,
            1_999,
            977,
            1 << 20,
            (1 << 20) - 30_000,
            1 << 40,
        ] {
            assert!(is_new(number), "{number}");
        }
        assert!(!is_new(1 << 40));
        let node = NodeId::from_bytes([0; 4]);
        for number in 1..100_000 {
            assert!(!arrivals.has((node, number)));
            assert!(arrivals.is_new((node, number)));
            assert!(arrivals.has((node, number)));
            let mut is_new = |number| arrivals.is_new((node, number));
            assert!(!is_new(number));
            if number > 1 {
                assert!(!is_new(number - 1));
            }
        }
        for (number, has) in [(1, false), (99_999 - WINDOW + 64, true), (100_000, false)] {
            assert_eq!(arrivals.has((node, number)), has, "{number}");
        }
    }

    #[test]
    fn there_is_a_bound_to_the_nodes() {
        let mut arrivals = Arrivals::default();
        for node in 0..=NODES as u32 {
            assert!(arrivals.is_new((NodeId::from_bytes(node.to_be_bytes()), 1)));
        }
        assert!(arrivals.0.len() <= NODES);
    }
}
