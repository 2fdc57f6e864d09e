//! How the cores are shared between tenants.
//!
//! Each poll of a guest is charged to the [`Share`] of its tenant. Who uses little, less than a quarter of what its
//! weight is worth, has credit and is never kept waiting. The calls of the others need a turn for each poll. There are
//! as many turns as cores; a call that yields keeps its turn while it stands in the executor's queue, so that no more
//! of those who compute stand there than there are cores, and who comes with a message waits for one of them at most.
//! The others wait here. A turn that becomes free goes to the share that has used least for its weight, so that nobody
//! gains by having many calls; and a core is idle for a millisecond at most while somebody wants it.
//!
//! As long as some have credit and others have none, one core of several is left to the former: that keeps a
//! neighbour's messages from waiting behind somebody's millisecond. One with credit whose call computes takes a turn too, without asking, and the others have one fewer meanwhile.
//!
//! A share keeps a turn for half a tick, and other calls of its own run on it meanwhile; when it pauses, it is given a
//! moment to come back. Otherwise each of a thousand short calls would wait behind somebody who computes for a
//! millisecond. Each such slice begins behind the executor's other tasks and behind the network.
//!
//! Nothing here measures time, starts a thread or knows of guests: [`Turns`] is asked around each poll, and
//! [`Cores::balance`] at each tick.

mod gate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use self::gate::{Asked, Gate};
use super::rate::Rate;

/// How often credit is filled in.
const REFILL: Duration = Duration::from_millis(10);
/// How long a share counts as active after it used something.
const ACTIVE: Duration = Duration::from_millis(100);
/// The part of what is guaranteed to a share that it gets as credit: a quarter. Who uses more has to take turns. With
/// all of it as credit, one with many calls could crowd out one with a single call without ever needing a turn; and a
/// call of a millisecond gets half a core beside others that compute, which has to be too much for credit, or its
/// share never gets to take turns and with them the rest of what it is due.
const LIGHT: u128 = 4;
/// Nanoseconds of credit for each core that a share has at most.
const BURST: i64 = 10_000_000;

/// The cores, and who shares them.
#[derive(Debug)]
pub struct Cores {
    turns: usize,
    gate: Mutex<Gate>,
    tenants: Mutex<Tenants>,
}

#[derive(Debug, Default)]
struct Tenants {
    looked: Option<Instant>,
    list: Vec<Tenant>,
}

/// What is known of a share at the last look.
#[derive(Debug)]
struct Tenant {
    share: Weak<Share>,
    used: u64,
    active: Option<Instant>,
    /// Nanoseconds, less than zero when it used more.
    credit: i64,
}

impl Cores {
    /// For so many threads that run guests. Zero counts as one.
    #[must_use]
    pub fn new(cores: usize) -> Arc<Self> {
        let turns = cores.max(1);
        Arc::new(Self {
            turns,
            gate: Mutex::new(Gate::new(turns)),
            tenants: Mutex::default(),
        })
    }

    /// A share of a `weight` beside the weights of the others; zero counts as one. With a cap it gets no more than so
    /// many milliseconds of a core each second, also when the cores are idle, and after a pause what is filled in a
    /// tenth of a second at once; a cap of zero lets it do next to nothing.
    #[must_use]
    pub fn share(self: &Arc<Self>, weight: u32, cap_ms_per_second: Option<u64>) -> Arc<Share> {
        let weight = weight.max(1);
        let credit = BURST.saturating_mul(self.turns.try_into().unwrap_or(i64::MAX));
        let id = lock(&self.gate).new_lane(weight);
        let share = Arc::new(Share {
            cores: self.clone(),
            id,
            weight,
            used: AtomicU64::new(0),
            free_until: AtomicU64::new(credit.unsigned_abs()),
            cap: cap_ms_per_second.map(|ms| Cap {
                rate: Rate::new(ms.saturating_mul(1000), ms.saturating_mul(100)),
                waiting: Mutex::default(),
            }),
        });
        lock(&self.tenants).list.push(Tenant {
            share: Arc::downgrade(&share),
            used: 0,
            active: None,
            credit,
        });
        share
    }

    /// Fills in credit and takes turns back that are not used. To be called at each tick by the thread that counts
    /// them: rarer calls leave cores idle for longer, and when there are none, who has used up its credit or its cap
    /// gets no more.
    pub fn balance(&self, now: Instant) {
        let mut calls = Vec::new();
        lock(&self.gate).take_back(now, &mut calls);
        calls.into_iter().for_each(Waker::wake);
        self.refill(now);
    }

    fn refill(&self, now: Instant) {
        let mut tenants = lock(&self.tenants);
        let Some(looked) = tenants.looked else {
            tenants.looked = Some(now);
            return;
        };
        let elapsed = now.saturating_duration_since(looked);
        if elapsed < REFILL {
            return;
        }
        tenants.looked = Some(now);
        let mut weights = 0;
        let mut looks = Vec::with_capacity(tenants.list.len());
        tenants.list.retain_mut(|tenant| {
            let Some(share) = tenant.share.upgrade() else {
                return false;
            };
            let before = tenant.used;
            tenant.used = share.used.load(Ordering::Relaxed);
            if tenant.used != before {
                tenant.active = Some(now);
            }
            let lately = |at| now.saturating_duration_since(at) < ACTIVE;
            let active = tenant.active.is_some_and(lately);
            if active {
                weights += u128::from(share.weight);
            }
            looks.push((share, tenant.used - before, active));
            true
        });
        let all = elapsed.as_nanos() * self.turns as u128;
        let (mut some_light, mut some_heavy) = (false, false);
        for (tenant, (share, used, active)) in tenants.list.iter_mut().zip(&looks) {
            let weight = u128::from(share.weight);
            let weights = if *active { weights } else { weights + weight };
            // One that is alone takes nothing from anybody.
            let part = if weights == weight { 1 } else { LIGHT };
            let filled = i64::try_from(all * weight / weights / part).unwrap_or(i64::MAX);
            let most = BURST.saturating_mul(self.turns.try_into().unwrap_or(i64::MAX));
            let left = tenant.credit.saturating_sub_unsigned(*used);
            tenant.credit = left.saturating_add(filled).clamp(-most, most);
            // Whoever had none has to use little for a while before it counts as light again.
            let light = tenant.used < share.free_until.load(Ordering::Relaxed);
            let light = light || tenant.credit >= most / 2;
            some_light |= light && *active;
            some_heavy |= !light && *active;
            let until = match light {
                true => tenant.used.saturating_add_signed(tenant.credit),
                false => 0,
            };
            share.free_until.store(until, Ordering::Relaxed);
        }
        drop(tenants);
        if self.turns > 1 {
            let mut calls = Vec::new();
            lock(&self.gate).reserve(some_light && some_heavy, now, &mut calls);
            calls.into_iter().for_each(Waker::wake);
        }
        // Without the lock: the last reference to a share may be one of these.
        for (share, ..) in looks {
            share.let_in(now);
        }
    }
}

/// The part of the cores that a tenant gets.
#[derive(Debug)]
pub struct Share {
    cores: Arc<Cores>,
    id: u64,
    weight: u32,
    /// Nanoseconds.
    used: AtomicU64,
    /// What it may have used before it needs turns: zero while it has no credit.
    free_until: AtomicU64,
    cap: Option<Cap>,
}

#[derive(Debug)]
struct Cap {
    /// Microseconds.
    rate: Rate,
    /// Those who wait for it, by their number.
    waiting: Mutex<BTreeMap<u64, Waker>>,
}

impl Share {
    /// Microseconds that its guests have run for so far.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) / 1000
    }

    /// The turns of one call.
    #[must_use]
    pub fn turns(&self) -> Turns<'_> {
        Turns {
            share: self,
            state: State::Out,
            number: 0,
        }
    }

    fn is_light(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.free_until.load(Ordering::Relaxed)
    }

    fn charge(&self, now: Instant, nanos: u64) {
        let before = self.used.fetch_add(nanos, Ordering::Relaxed);
        if let Some(cap) = &self.cap {
            // What is less than a microsecond is charged with what comes after it.
            let micros = (before + nanos) / 1000 - before / 1000;
            cap.rate.charge(now, micros);
            self.let_in(now);
        }
    }

    /// Wakes one of those who wait for the cap, if something is left of it. It wakes the next when its poll has ended.
    fn let_in(&self, now: Instant) {
        if let Some(cap) = &self.cap
            && cap.rate.wait(now).is_zero()
            && let Some((_, waker)) = { lock(&cap.waiting).pop_first() }
        {
            waker.wake();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut calls = Vec::new();
        lock(&self.cores.gate).remove_lane(self.id, Instant::now(), &mut calls);
        calls.into_iter().for_each(Waker::wake);
    }
}

/// The turns of one call, one for each poll. Dropping it gives back what it has and passes on what it was told, so
/// that a call may be dropped at any time.
#[derive(Debug)]
pub struct Turns<'a> {
    share: &'a Share,
    state: State,
    /// Its place in the line of its share; zero for one that has never waited.
    number: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Out,
    /// It runs since then on the share's credit.
    Free(Instant),
    /// It runs since then on a turn.
    Turn(Instant),
    /// It waits for a turn, or has one and is about to be polled.
    Line,
    /// It waits for the cap.
    Capped,
}

impl Turns<'_> {
    /// To be asked before each poll of the guest, which may run when this is ready. Else the task is woken when it may;
    /// asking before does no harm. With credit this takes no lock and reads two numbers.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if let Some(cap) = &self.share.cap
            && !cap.rate.wait(now).is_zero()
        {
            if !matches!(self.state, State::Capped) {
                self.leave(now);
                self.number = lock(&self.share.cores.gate).next_number();
            }
            lock(&cap.waiting).insert(self.number, cx.waker().clone());
            self.state = State::Capped;
            return Poll::Pending;
        }
        // One that computed when it last ran has a turn also with credit.
        if !matches!(self.state, State::Line) {
            if !matches!(self.state, State::Out) {
                self.leave(now);
            }
            if self.share.is_light() {
                self.state = State::Free(now);
                return Poll::Ready(());
            }
        }
        let mut calls = Vec::new();
        let asked =
            lock(&self.share.cores.gate).ask(self.share.id, &mut self.number, cx, now, &mut calls);
        calls.into_iter().for_each(Waker::wake);
        if let Asked::Ready = asked {
            self.state = State::Turn(now);
            return Poll::Ready(());
        }
        self.state = State::Line;
        if matches!(asked, Asked::Line) && self.share.is_light() {
            self.leave(now);
            self.state = State::Free(now);
            return Poll::Ready(());
        }
        if let Asked::Later = asked {
            // Tokio wakes who yields after it has asked the network for news. Woken by who had the turn before, this
            // one would run at once, and so would the next, and nobody ever asked.
            let _ = pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// To be told when the poll has ended: that the guest has run since [`Turns::poll_turn`] was ready, and whether it
    /// wants to go on `again` and waits for nothing. Who does keeps the turn or its place in the line until the next
    /// poll, and has to see to being woken for that.
    pub fn end(&mut self, cx: &Context<'_>, now: Instant, again: bool) {
        let (State::Free(begun) | State::Turn(begun)) = self.state else {
            return;
        };
        let nanos = nanos(now.saturating_duration_since(begun));
        self.share.charge(now, nanos);
        if again || matches!(self.state, State::Turn(_)) {
            self.pass_on(now, nanos, again.then(|| cx.waker()));
        } else {
            self.state = State::Out;
        }
    }

    fn pass_on(&mut self, now: Instant, nanos: u64, again: Option<&Waker>) {
        let mut calls = Vec::new();
        {
            let light = self.share.is_light();
            let mut gate = lock(&self.share.cores.gate);
            if let State::Free(_) = self.state {
                gate.enter(self.share.id);
            }
            self.number = gate.end(self.share.id, light, nanos, now, again, &mut calls);
        }
        calls.into_iter().for_each(Waker::wake);
        self.state = match again {
            Some(_) => State::Line,
            None => State::Out,
        };
    }

    /// Gives back what it has.
    fn leave(&mut self, now: Instant) {
        match self.state {
            State::Out | State::Free(_) => {}
            State::Turn(_) => self.pass_on(now, 0, None),
            State::Line => {
                let mut calls = Vec::new();
                lock(&self.share.cores.gate).forget(self.share.id, self.number, now, &mut calls);
                calls.into_iter().for_each(Waker::wake);
            }
            State::Capped => {
                if let Some(cap) = &self.share.cap {
                    lock(&cap.waiting).remove(&self.number);
                }
            }
        }
        self.state = State::Out;
        self.number = 0;
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        if !matches!(self.state, State::Out | State::Free(_)) {
            self.leave(Instant::now());
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// Nothing panics while holding a lock; were it poisoned all the same, what it guards would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
