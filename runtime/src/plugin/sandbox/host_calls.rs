//! How often a call may go out of the sandbox.

use wasmtime::CallHook;

use crate::quota::{Account, Spent};

/// Counts the calls of host functions, and of Wasmtime's own for a guest, such as those that grow a memory.
#[derive(Debug)]
pub struct HostCalls {
    limit: u64,
    /// Since the call began.
    made: u64,
    account: Account,
}

/// A call has called the host more often than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call called functions of the host more than {0} times (limits.host-calls)")]
pub struct TooManyCalls(u64);

impl HostCalls {
    /// Allows each call so many.
    #[must_use]
    pub fn new(limit: u64, account: Account) -> Self {
        Self {
            limit,
            made: 0,
            account,
        }
    }

    /// A call begins. What the last one has made is counted on the account now, all at once.
    pub fn begin(&mut self) {
        self.settle();
    }

    /// For the store's hook.
    ///
    /// # Errors
    /// It was one too many; the guest traps.
    pub fn pass(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        if let CallHook::CallingHost = hook {
            self.made += 1;
            if self.made > self.limit {
                return Err(TooManyCalls(self.limit).into());
            }
        }
        Ok(())
    }

    fn settle(&mut self) {
        let made = std::mem::take(&mut self.made);
        self.account.charge(Spent::HostCalls, made);
    }
}

impl Drop for HostCalls {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_so_many_and_not_one_more() {
        let mut calls = HostCalls::new(2, Account::unbounded());
        for _ in 0..2 {
            calls.begin();
            for hook in [
                CallHook::CallingWasm,
                CallHook::CallingHost,
                CallHook::ReturningFromHost,
            ] {
                assert!(calls.pass(hook).is_ok());
            }
            assert!(calls.pass(CallHook::CallingHost).is_ok());
            assert!(calls.pass(CallHook::CallingHost).is_err());
        }
    }
}
