//! What tenants use of what they share: counted, bounded, and the cores divided between them.
//!
//! An [`Account`] is what one plugin draws on: its tenant's budget, and one of its own beside it. What both allow is
//! allowed. Nothing here waits but those who want a core, or the next thing of so many a second.

mod counter;
mod rate;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::mem::forget;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::sleep;

pub use self::counter::Counter;
pub use self::rate::Rate;
pub use self::share::{Cores, Share, Turns};
use crate::config::Quotas;

/// What there may be so many of at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Plugin instances.
    Instances,
    /// Bytes of linear memory.
    Memory,
    /// Open sockets.
    Connections,
    /// Rooms.
    Rooms,
    /// Bytes of messages that wait to be written.
    Queued,
    /// Bytes of messages that are coming in. They are bounded for the whole server too.
    Receiving,
}

/// What there may be so many of in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Messages of clients.
    Messages,
    /// Messages queued to sockets.
    Deliveries,
    /// Calls of host functions.
    HostCalls,
    /// Lines of the log.
    LogLines,
}

/// What is counted against one set of quotas.
#[derive(Debug)]
pub struct Budget {
    instances: Counter,
    memory: Counter,
    connections: Counter,
    rooms: Counter,
    queued: Counter,
    receiving: Counter,
    messages: Option<Rate>,
    deliveries: Option<Rate>,
    host_calls: Option<Rate>,
    log_lines: Option<Rate>,
    lookups: Arc<Semaphore>,
}

/// How many names a tenant has looked up at once.
const LOOKUPS: usize = 32;

impl Budget {
    /// Nothing is used yet.
    #[must_use]
    pub fn new(quotas: &Quotas) -> Self {
        // What a second brings may come in a tenth of it.
        let rate = |quota: Option<u64>, parts: u64| {
            quota.map(|per_second| Rate::new(per_second, per_second.div_ceil(parts)))
        };
        Self {
            instances: Counter::new(quotas.instances),
            memory: Counter::new(quotas.memory_bytes),
            connections: Counter::new(quotas.connections),
            rooms: Counter::new(quotas.rooms),
            queued: Counter::new(quotas.queued_bytes),
            receiving: Counter::new(quotas.receiving_bytes),
            messages: rate(quotas.messages_per_second, 10),
            deliveries: rate(quotas.deliveries_per_second, 10),
            host_calls: rate(quotas.host_calls_per_second, 10),
            // A panic and its backtrace come at once.
            log_lines: rate(quotas.log_lines_per_second, 1),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    fn counter(&self, held: Held) -> &Counter {
        match held {
            Held::Instances => &self.instances,
            Held::Memory => &self.memory,
            Held::Connections => &self.connections,
            Held::Rooms => &self.rooms,
            Held::Queued => &self.queued,
            Held::Receiving => &self.receiving,
        }
    }

    fn rate(&self, spent: Spent) -> Option<&Rate> {
        match spent {
            Spent::Messages => self.messages.as_ref(),
            Spent::Deliveries => self.deliveries.as_ref(),
            Spent::HostCalls => self.host_calls.as_ref(),
            Spent::LogLines => self.log_lines.as_ref(),
        }
    }
}

/// The tenants, each with its budget and its share of the cores.
#[derive(Debug)]
pub struct Tenants {
    cores: Arc<Cores>,
    /// For plugins with a cap of their own. They share nothing here, and wait for no more than their cap.
    caps: Arc<Cores>,
    /// What messages that are coming in take in the whole server.
    receiving: Arc<Counter>,
    known: Mutex<BTreeMap<Option<String>, Tenant>>,
}

#[derive(Debug)]
struct Tenant {
    budget: Arc<Budget>,
    share: Arc<Share>,
}

impl Tenants {
    /// No tenants yet, on so many threads that run guests. For messages that are coming in, all of them together may take
    /// so many bytes.
    #[must_use]
    pub fn new(cores: usize, receiving_bytes: u64) -> Self {
        Self {
            receiving: Arc::new(Counter::new(Some(receiving_bytes))),
            cores: Cores::new(cores),
            caps: Cores::new(isize::MAX.unsigned_abs()),
            known: Mutex::default(),
        }
    }

    /// An account of a plugin with these quotas of its own. Those of its tenant count when it is the tenant's first; the
    /// root folder is the tenant without a name.
    #[must_use]
    pub fn account(&self, tenant: Option<&str>, quotas: &Quotas, own: &Quotas) -> Account {
        // What it guards is whole whenever the lock is free.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Tenants that have gone.
        known.retain(|_, tenant| Arc::strong_count(&tenant.budget) > 1);
        let tenant = known.entry(tenant.map(str::to_owned)).or_insert_with(|| {
            let weight = u32::try_from(quotas.weight()).unwrap_or(u32::MAX);
            Tenant {
                budget: Arc::new(Budget::new(quotas)),
                share: self.cores.share(weight, quotas.cpu_ms_per_second),
            }
        });
        Account(Arc::new(Inner {
            tenant: tenant.budget.clone(),
            share: tenant.share.clone(),
            receiving: self.receiving.clone(),
            own: Budget::new(own),
            capped: own
                .cpu_ms_per_second
                .map(|cap| self.caps.share(1, Some(cap))),
        }))
    }

    /// To be called at each tick, see [`Cores::balance`].
    pub fn balance(&self, now: Instant) {
        self.cores.balance(now);
        self.caps.balance(now);
    }
}

/// What one plugin draws on.
#[derive(Clone, Debug)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: Arc<Budget>,
    own: Budget,
    share: Arc<Share>,
    /// The whole server's.
    receiving: Arc<Counter>,
    /// The same for the plugin alone, when it has a cap.
    capped: Option<Arc<Share>>,
}

impl Account {
    /// Of one that nothing is bounded for, as a handler that is part of the host.
    #[must_use]
    pub fn unbounded() -> Self {
        let none = Quotas::default();
        Tenants::new(1, u64::MAX).account(None, &none, &none)
    }

    /// How many more names the tenant may have looked up at once.
    #[must_use]
    pub fn lookups(&self) -> Arc<Semaphore> {
        self.0.tenant.lookups.clone()
    }

    fn budgets(&self) -> [&Budget; 2] {
        [&self.0.own, &self.0.tenant]
    }

    /// All that count it.
    fn counters(&self, held: Held) -> impl Iterator<Item = &Counter> {
        let budgets = self.budgets().map(|budget| budget.counter(held));
        let whole = (held == Held::Receiving).then_some(&*self.0.receiving);
        budgets.into_iter().chain(whole)
    }

    /// Counts `n` more of what there may be so many of at once, unless that would be too many.
    #[must_use]
    pub fn take(&self, held: Held, n: u64) -> bool {
        let taken = self.counters(held).take_while(|it| it.take(n)).count();
        let all = taken == self.counters(held).count();
        if !all {
            let taken = self.counters(held).take(taken);
            taken.for_each(|it| it.give_back(n));
        }
        all
    }

    /// Counts `n` fewer of what was taken before.
    pub fn give_back(&self, held: Held, n: u64) {
        self.counters(held).for_each(|it| it.give_back(n));
    }

    /// The same until what is returned is dropped; none when that would be too many.
    #[must_use]
    pub fn hold(&self, held: Held, n: u64) -> Option<Hold> {
        self.take(held, n).then(|| Hold {
            account: self.clone(),
            held,
            n,
        })
    }

    /// Whether there may be only so many.
    #[must_use]
    pub fn bounds(&self, held: Held) -> bool {
        self.counters(held).any(Counter::is_bounded)
    }

    /// How much there is at the moment.
    #[must_use]
    pub fn used(&self, held: Held) -> u64 {
        self.0.own.counter(held).used()
    }

    /// Whether something is bounded by the second.
    #[must_use]
    pub fn is_bounded(&self, spent: Spent) -> bool {
        self.budgets().iter().any(|it| it.rate(spent).is_some())
    }

    /// Counts one, if there may be one at the moment; else for how long there may not.
    pub fn spend_one(&self, spent: Spent) -> Result<(), Duration> {
        if !self.is_bounded(spent) {
            return Ok(());
        }
        let now = Instant::now();
        match self.left_after(spent, now) {
            Some(wait) => Err(wait),
            None => {
                self.charge_at(spent, now, 1);
                Ok(())
            }
        }
    }

    /// Counts one, and waits until there may be one. Who comes later waits for longer, and each is woken once. Cancel-safe:
    /// one that was not waited for to the end is not counted.
    pub async fn wait_for_one(&self, spent: Spent) {
        let mut reserved = Vec::new();
        // One after the other: the tenant's others do not wait for what waits for its own plugin's.
        for rate in self.budgets().into_iter().filter_map(|it| it.rate(spent)) {
            let wait = rate.reserve(Instant::now());
            reserved.push(Reserved(rate));
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
        reserved.into_iter().for_each(forget);
    }

    /// For how long there may be none; none when there may be some. To be asked before what is then charged by
    /// [`Account::charge`], when only afterwards is known how much it was.
    #[must_use]
    pub fn exhausted(&self, spent: Spent) -> Option<Duration> {
        self.is_bounded(spent)
            .then(|| self.left_after(spent, Instant::now()))?
    }

    /// Counts `n`, also when that is too many: then there may be none for longer.
    pub fn charge(&self, spent: Spent, n: u64) {
        if n > 0 && self.is_bounded(spent) {
            self.charge_at(spent, Instant::now(), n);
        }
    }

    fn left_after(&self, spent: Spent, now: Instant) -> Option<Duration> {
        let rates = self.budgets().into_iter().filter_map(|it| it.rate(spent));
        let wait = rates.map(|rate| rate.wait(now)).max()?;
        (!wait.is_zero()).then_some(wait)
    }

    fn charge_at(&self, spent: Spent, now: Instant, n: u64) {
        let rates = self.budgets().into_iter().filter_map(|it| it.rate(spent));
        rates.for_each(|rate| rate.charge(now, n));
    }

    /// Does something a piece at a time, each in a turn of the tenant's, until `piece` returns true. Others run between.
    /// Cancel-safe.
    pub async fn in_turns(&self, mut piece: impl FnMut() -> bool) {
        let mut turns = self.share().turns();
        poll_fn(move |cx| {
            let begun = Instant::now();
            ready!(turns.poll_turn(cx, begun));
            let done = piece();
            turns.end(cx, Instant::now(), !done);
            if done {
                return Poll::Ready(());
            }
            // Behind the driver, as a guest that computes.
            pin!(yield_now()).poll(cx)
        })
        .await;
    }

    /// The tenant's share of the cores.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.0.share
    }

    /// What is to be asked before the tenant's share, when the plugin has a cap of its own.
    #[must_use]
    pub fn capped(&self) -> Option<&Share> {
        self.0.capped.as_deref()
    }
}

/// One that was reserved. Dropped, it is given back.
struct Reserved<'a>(&'a Rate);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// So much is used until this is dropped.
#[derive(Debug)]
pub struct Hold {
    account: Account,
    held: Held,
    n: u64,
}

impl Hold {
    /// So much instead. Returns false when that would be too many: then it is as much as before.
    #[must_use]
    pub fn resize(&mut self, n: u64) -> bool {
        let taken = match n.checked_sub(self.n) {
            Some(more) => self.account.take(self.held, more),
            None => {
                self.account.give_back(self.held, self.n - n);
                true
            }
        };
        if taken {
            self.n = n;
        }
        taken
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.account.give_back(self.held, self.n);
    }
}
