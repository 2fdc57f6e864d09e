//! How much an instance may allocate.

use std::mem::take;

use wasmtime::ResourceLimiter;

use crate::quota::{Account, Held};

/// Elements in all tables of an instance together. A Rust guest has one table with an element per function whose
/// address is taken: some hundreds.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
/// Core instances inside one component: a guest's own module and the shims around it are about five.
pub(crate) const CORE_INSTANCES: u32 = 10;
/// Memories inside one component.
pub(crate) const MEMORIES: u32 = 1;
/// Tables inside one component.
pub(crate) const TABLES: u32 = 4;

/// Counts what the memories and tables of one store hold, and refuses what goes over. A guest sees a refused growth
/// as `memory.grow` does: -1.
#[derive(Debug)]
pub struct Limiter {
    memory_limit: usize,
    memory: usize,
    /// How much of that was allowed last, which may come to nothing.
    allowed: usize,
    table_elements: usize,
    /// Where the memory is counted beside that of other instances.
    account: Account,
}

impl Limiter {
    /// A limiter that allows `memory_limit` bytes of linear memory, as far as the account does.
    #[must_use]
    pub fn new(memory_limit: usize, account: Account) -> Self {
        Self {
            memory_limit,
            memory: 0,
            allowed: 0,
            table_elements: 0,
            account,
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.account.give_back(Held::Memory, self.memory as u64);
    }
}

/// By how much the total grows, when it stays within the limit, and what grows within the maximum that it declares, at
/// which Wasmtime looks only later.
fn growth(
    total: usize,
    (current, desired): (usize, usize),
    maximum: Option<usize>,
    limit: usize,
) -> Option<usize> {
    let more = desired.saturating_sub(current);
    let fits = total.checked_add(more)? <= limit && maximum.is_none_or(|most| desired <= most);
    fits.then_some(more)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = growth(self.memory, (current, desired), maximum, self.memory_limit)
            .filter(|more| self.account.take(Held::Memory, *more as u64));
        self.allowed = more.unwrap_or(0);
        self.memory += self.allowed;
        Ok(more.is_some())
    }

    /// The operating system has no more. For memories with pages of 64 KiB, and others are not turned on, that is never
    /// said of a growth that was not allowed before.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        let failed = take(&mut self.allowed);
        self.memory -= failed;
        self.account.give_back(Held::Memory, failed as u64);
        Ok(())
    }

    // What is allowed here never fails: the pool has room for all elements that there may be. That a growth has failed is
    // also said of some that were never asked for here, so nothing may be counted back for it.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements;
        let more = growth(total, (current, desired), maximum, TABLE_ELEMENTS);
        self.table_elements += more.unwrap_or(0);
        Ok(more.is_some())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Memory, MemoryType, Store};

    use super::*;

    /// A page of a linear memory.
    const PAGE: usize = 64 << 10;

    /// A store that may have eight pages, with a memory of one page and its declared maximum.
    fn store(config: &Config, maximum: u32) -> (Store<Limiter>, Memory) {
        let limiter = Limiter::new(8 * PAGE, Account::unbounded());
        let mut store = Store::new(&Engine::new(config).unwrap(), limiter);
        store.limiter(|limiter| limiter);
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(maximum))).unwrap();
        (store, memory)
    }

    /// How much is counted, which is the same in both places.
    fn counted(limiter: &Limiter) -> usize {
        assert_eq!(limiter.account.used(Held::Memory), limiter.memory as u64);
        limiter.memory
    }

    #[test]
    fn all_memories_of_a_store_share_one_limit() {
        let mut limiter = Limiter::new(100, Account::unbounded());
        let mut grow = |current, desired| limiter.memory_growing(current, desired, None).unwrap();
        assert!(grow(0, 60));
        assert!(!grow(0, 41));
        assert!(grow(0, 40));
        assert!(!grow(60, 61));
        assert!(!grow(60, usize::MAX));
        assert_eq!(limiter.memory, 100);
    }

    #[test]
    fn tables_have_a_limit_too() {
        let mut limiter = Limiter::new(0, Account::unbounded());
        let mut grow = |current, desired| limiter.table_growing(current, desired, None).unwrap();
        assert!(grow(0, TABLE_ELEMENTS));
        assert!(!grow(TABLE_ELEMENTS, TABLE_ELEMENTS + 1));
    }

    #[test]
    fn growth_over_what_a_memory_declares_counts_nothing() {
        let (mut store, memory) = store(&Config::new(), 3);
        for _ in 0..10 {
            assert!(memory.grow(&mut store, 3).is_err());
            assert_eq!(counted(store.data()), PAGE);
        }
        assert!(memory.grow(&mut store, 2).is_ok());
        assert_eq!(counted(store.data()), 3 * PAGE);
    }

    #[test]
    fn growth_that_fails_where_it_was_allowed_counts_nothing() {
        let mut config = Config::new();
        config
            .memory_may_move(false)
            .memory_reservation(2 * PAGE as u64);
        let (mut store, memory) = store(&config, 8);
        assert!(memory.grow(&mut store, 1).is_ok());
        for _ in 0..10 {
            assert!(memory.grow(&mut store, 1).is_err());
            assert_eq!(counted(store.data()), 2 * PAGE);
        }
    }

    #[test]
    fn only_what_was_allowed_last_is_counted_back_and_once() {
        let mut limiter = Limiter::new(100, Account::unbounded());
        let failed = || wasmtime::Error::msg("no memory");
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(60, 90, Some(90)).unwrap());
        limiter.memory_grow_failed(failed()).unwrap();
        assert_eq!(counted(&limiter), 60);
        limiter.memory_grow_failed(failed()).unwrap();
        assert_eq!(counted(&limiter), 60);
        assert!(limiter.memory_growing(60, 70, None).unwrap());
        assert!(!limiter.memory_growing(70, 81, Some(80)).unwrap());
        limiter.memory_grow_failed(failed()).unwrap();
        assert_eq!(counted(&limiter), 70);
    }

    #[test]
    fn a_table_does_not_count_what_it_may_not_have() {
        let mut limiter = Limiter::new(0, Account::unbounded());
        let mut grow =
            |current, desired| limiter.table_growing(current, desired, Some(10)).unwrap();
        assert!(grow(0, 9));
        for _ in 0..3 {
            assert!(!grow(9, TABLE_ELEMENTS - 9));
        }
        assert!(grow(9, 10));
        assert_eq!(limiter.table_elements, 10);
    }
}
