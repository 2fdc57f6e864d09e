//! One row of the gauntlet.

use futures_util::future::LocalBoxFuture;
use tulpar_tests::Builder;

use crate::arena::Arena;

/// What an attack does: it panics when the attacker's outcome is not the one that is promised, and else says it.
type Attack = Box<dyn for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, String>>;

/// An attacker and what has to come of it.
pub struct Row {
    /// What it is called.
    pub name: String,
    pub(crate) arm: Box<dyn Fn(Builder) -> Builder>,
    pub(crate) attack: Attack,
    /// What the server may hold more than before once the attack is over, in bytes: what it keeps to use again.
    pub(crate) may_keep: u64,
}

impl Row {
    /// `arm` puts the attacker's files there before the server starts; `attack` is what happens then.
    pub(crate) fn new(
        name: impl Into<String>,
        arm: impl Fn(Builder) -> Builder + 'static,
        attack: impl for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            arm: Box::new(arm),
            attack: Box::new(attack),
            may_keep: 32 << 20,
        }
    }
}
