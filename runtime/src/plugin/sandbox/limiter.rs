//! How much an instance may allocate.

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

/// The new total, when it stays within the limit.
fn grown(total: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    let total = total.checked_add(desired.saturating_sub(current))?;
    (total <= limit).then_some(total)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = grown(self.memory, current, desired, self.memory_limit);
        let total = total.filter(|total| {
            let more = (total - self.memory) as u64;
            self.account.take(Held::Memory, more)
        });
        self.memory = total.unwrap_or(self.memory);
        Ok(total.is_some())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = grown(self.table_elements, current, desired, TABLE_ELEMENTS);
        self.table_elements = total.unwrap_or(self.table_elements);
        Ok(total.is_some())
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
    use super::*;

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
}
