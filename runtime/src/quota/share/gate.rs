//! Who of those that compute has a turn, and who waits for one.
//!
//! This is the state behind the lock of [`Cores`](super::Cores). Whoever is to be woken goes into a list, for the
//! caller to wake without the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::nanos;

/// How many nanoseconds a share has a turn for before others are asked: half a tick, so that a call that yields at
/// each tick passes its turn on each time.
const SLICE: i64 = 500_000;
/// How many nanoseconds a turn is kept for a share of which nobody is there, when others wait.
const PAUSE: u64 = 100_000;
/// How many nanoseconds of such a pause are charged at most: a tick, after which it ends if somebody waits.
const PAUSE_CHARGED: u64 = 1_000_000;
/// How often a call that has been given a turn lets the others of its thread go first. Twice: Tokio puts the last of
/// those that have yielded before what the network brought meanwhile.
pub(super) const LATER: u8 = 2;
/// How long a turn is kept for a call that was told of it and does not come, as it may when whoever polls it does
/// something else first.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Who has a turn and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Turns that nobody has; less than zero while those with credit have taken more than there are. While there is
    /// one, nobody waits.
    pub(super) free: isize,
    /// Whether one fewer are free, for the sake of those with credit.
    pub(super) reserved: bool,
    /// The usage by weight of the last share that was given a turn. One that comes back from a pause begins here: what
    /// it did not use meanwhile is gone.
    pub(super) usage: u128,
    pub(super) lanes: BTreeMap<u64, Lane>,
    /// The lanes in which somebody waits, by their usage.
    pub(super) line: BTreeSet<(u128, u64)>,
    /// The lanes that have turns.
    pub(super) holders: BTreeSet<u64>,
    pub(super) numbers: u64,
}

/// The calls of one share.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) weight: u32,
    /// Nanoseconds for each ten-thousandth of weight.
    pub(super) usage: u128,
    pub(super) turns: usize,
    /// Turns on which a call runs, or that are granted to one.
    pub(super) busy: usize,
    /// Nanoseconds that it may still run on its turns together before it is asked to pass one on.
    pub(super) left: i64,
    /// Whether the next to run begins a slice, and so lets others go first.
    pub(super) fresh: bool,
    /// When a call last left a turn unused.
    pub(super) paused: Option<Instant>,
    /// By their number, so that the first is who has waited longest.
    pub(super) waiting: BTreeMap<u64, Waker>,
    pub(super) granted: BTreeMap<u64, Granted>,
    /// Who was woken for a turn that is not granted to anybody, and has not come yet.
    pub(super) called: Option<u64>,
}

/// A turn of a call that is not being polled.
#[derive(Debug)]
pub(super) struct Granted {
    since: Instant,
    /// How often it still lets the others of its thread, and the network, go before it.
    later: u8,
}

impl Granted {
    fn new(since: Instant, later: u8) -> Self {
        Self { since, later }
    }
}

pub(super) enum Asked {
    Ready,
    Line,
    Later,
}

impl Gate {
    /// Nobody has one of so many turns.
    pub(super) fn new(turns: usize) -> Self {
        Self {
            free: turns.try_into().unwrap_or(isize::MAX),
            ..Self::default()
        }
    }

    pub(super) fn new_lane(&mut self, weight: u32) -> u64 {
        let id = self.next_number();
        let lane = Lane {
            weight,
            ..Lane::default()
        };
        self.lanes.insert(id, lane);
        id
    }

    pub(super) fn remove_lane(&mut self, id: u64, now: Instant, calls: &mut Vec<Waker>) {
        while self.holders.contains(&id) {
            self.give_up(id);
        }
        self.lanes.remove(&id);
        self.grant(now, calls);
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn ask(
        &mut self,
        id: u64,
        number: &mut u64,
        cx: &Context<'_>,
        now: Instant,
        calls: &mut Vec<Waker>,
    ) -> Asked {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return Asked::Ready;
        };
        if let Some(granted) = lane.granted.get_mut(number) {
            if granted.later > 0 {
                granted.later -= 1;
                return Asked::Later;
            }
            lane.granted.remove(number);
            *number = 0;
            return Asked::Ready;
        }
        lane.called.take_if(|called| called == number);
        let pause = lane.pause(now);
        let away = lane.turns == 0 || (lane.busy == 0 && pause >= PAUSE);
        if away && lane.waiting.is_empty() {
            lane.usage = lane.usage.max(self.usage);
        }
        if lane.busy == lane.turns && self.free <= 0 {
            if *number == 0 {
                self.numbers += 1;
                *number = self.numbers;
            }
            lane.waiting.insert(*number, cx.waker().clone());
            let first = self.line.is_empty();
            self.line.insert((lane.usage, id));
            if first {
                self.take_back(now, calls);
            }
            return Asked::Line;
        }
        if lane.busy < lane.turns {
            // While the turn was kept for it, nobody else could run.
            self.charge(id, pause);
        } else {
            self.free -= 1;
            self.usage = self.usage.max(lane.usage);
            self.holders.insert(id);
            lane.add_turn();
            lane.fresh = true;
        }
        let Some(lane) = self.lanes.get_mut(&id) else {
            return Asked::Ready;
        };
        lane.busy += 1;
        if lane.waiting.remove(number).is_some() && lane.waiting.is_empty() {
            self.line.remove(&(lane.usage, id));
        }
        lane.call_next(calls);
        if take(&mut lane.fresh) {
            self.numbers += 1;
            *number = self.numbers;
            lane.granted.insert(*number, Granted::new(now, LATER - 1));
            return Asked::Later;
        }
        *number = 0;
        Asked::Ready
    }

    /// A call runs without having asked for a turn, and takes one now, also when there is none: others then have one
    /// fewer.
    pub(super) fn enter(&mut self, id: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if lane.turns == 0 && lane.waiting.is_empty() {
            lane.usage = lane.usage.max(self.usage);
        }
        lane.add_turn();
        lane.busy += 1;
        self.free -= 1;
        self.holders.insert(id);
    }

    /// A poll has ended. Returns the number of a call that goes on again, else zero.
    pub(super) fn end(
        &mut self,
        id: u64,
        light: bool,
        nanos: u64,
        now: Instant,
        again: Option<&Waker>,
        calls: &mut Vec<Waker>,
    ) -> u64 {
        self.charge(id, nanos);
        let number = self.next_number();
        let Some(lane) = self.lanes.get_mut(&id) else {
            return 0;
        };
        let spent = lane.left <= lane.slices(lane.turns - 1);
        let better = |best: &(u128, u64)| *best <= (lane.usage, id);
        let others = self.free < 0 || self.line.first().is_some_and(better);
        let pass = spent && others && !light;
        if spent && !pass {
            self.usage = self.usage.max(lane.usage);
            lane.left = lane.slices(lane.turns);
            lane.fresh = again.is_none();
        }
        if !pass && again.is_some() {
            lane.granted.insert(number, Granted::new(now, LATER - 1));
            return number;
        }
        lane.busy -= 1;
        lane.paused = Some(now);
        if let Some(waker) = again {
            lane.waiting.insert(number, waker.clone());
            self.line.insert((lane.usage, id));
        }
        // With credit it needs none to come back.
        if pass || light || (spent && self.line.is_empty()) {
            self.give_up(id);
            self.grant(now, calls);
        } else {
            lane.call_next(calls);
        }
        match again {
            Some(_) => number,
            None => 0,
        }
    }

    /// A call has gone that waited or was granted a turn.
    pub(super) fn forget(&mut self, id: u64, number: u64, now: Instant, calls: &mut Vec<Waker>) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if lane.waiting.remove(&number).is_some() && lane.waiting.is_empty() {
            self.line.remove(&(lane.usage, id));
        }
        if lane.called.take_if(|called| *called == number).is_some() {
            lane.call_next(calls);
        }
        if lane.granted.remove(&number).is_some() {
            lane.busy -= 1;
            self.give_up(id);
            self.grant(now, calls);
        }
    }

    /// Takes back the turns that are not used, when somebody else wants one.
    pub(super) fn take_back(&mut self, now: Instant, calls: &mut Vec<Waker>) {
        if self.line.is_empty() {
            return;
        }
        for id in self.holders.clone() {
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            let before = lane.granted.len();
            let late = |since| now.saturating_duration_since(since) > PATIENCE;
            lane.granted.retain(|_, granted| !late(granted.since));
            let mut unused = before - lane.granted.len();
            lane.busy -= unused;
            let pause = lane.pause(now);
            if pause >= PAUSE {
                unused = lane.turns - lane.busy;
                self.charge(id, pause * unused as u64);
            }
            (0..unused).for_each(|_| self.give_up(id));
        }
        self.grant(now, calls);
    }

    /// Keeps one turn for those with credit, or gives it to the others again.
    pub(super) fn reserve(&mut self, reserved: bool, now: Instant, calls: &mut Vec<Waker>) {
        if std::mem::replace(&mut self.reserved, reserved) != reserved {
            self.free += if reserved { -1 } else { 1 };
            self.grant(now, calls);
        }
    }

    fn charge(&mut self, id: u64, nanos: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let before = (lane.usage, id);
        lane.usage += u128::from(nanos) * 10_000 / u128::from(lane.weight);
        lane.left = lane.left.saturating_sub_unsigned(nanos);
        if self.line.remove(&before) {
            self.line.insert((lane.usage, id));
        }
    }

    fn give_up(&mut self, id: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.turns -= 1;
        self.free += 1;
        if lane.turns == 0 {
            lane.left = 0;
            self.holders.remove(&id);
        }
    }

    /// Gives the free turns to those who have used least for their weight.
    fn grant(&mut self, now: Instant, calls: &mut Vec<Waker>) {
        while self.free > 0
            && let Some((usage, id)) = self.line.pop_first()
            && let Some(lane) = self.lanes.get_mut(&id)
            && let Some((number, waker)) = lane.waiting.pop_first()
        {
            if !lane.waiting.is_empty() {
                self.line.insert((usage, id));
            }
            self.free -= 1;
            self.usage = self.usage.max(usage);
            self.holders.insert(id);
            lane.called.take_if(|called| *called == number);
            lane.add_turn();
            lane.busy += 1;
            lane.granted.insert(number, Granted::new(now, LATER));
            calls.push(waker);
        }
    }
}

impl Lane {
    fn add_turn(&mut self) {
        self.turns += 1;
        self.left = self.left.max(0) + SLICE;
    }

    /// Nanoseconds since one of its calls last left a turn, those that are charged.
    fn pause(&self, now: Instant) -> u64 {
        let pause = self.paused.map(|at| now.saturating_duration_since(at));
        pause.map_or(0, nanos).min(PAUSE_CHARGED)
    }

    fn slices(&self, turns: usize) -> i64 {
        SLICE.saturating_mul(turns.try_into().unwrap_or(i64::MAX))
    }

    /// Wakes who has waited longest, when there is a turn that nobody uses. Until it comes, who runs may use it: a
    /// call that follows another in the same task does not have to wait.
    fn call_next(&mut self, calls: &mut Vec<Waker>) {
        if self.called.is_none()
            && self.busy < self.turns
            && let Some((number, waker)) = self.waiting.first_key_value()
        {
            self.called = Some(*number);
            calls.push(waker.clone());
        }
    }
}
