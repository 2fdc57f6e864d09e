//! The gauntlet: one hostile plugin after the other, each on a server of its own beside a healthy neighbour under load.
//!
//! A [`Row`] says what the attacker is and what has to come of it. [`run`] serves it, has the neighbour measured alone,
//! under the attack and alone again, and gives an [`Outcome`]: what happened to the attacker, what the neighbour sent,
//! received and lost, how long its messages took, and what memory the server held. `make gauntlet` runs all rows and
//! prints their table; the tests run each for a moment.

mod arena;
mod attacks;
mod component;
mod figures;
mod neighbour;
mod report;
mod row;
mod run;

pub use attacks::rows;
pub use report::{markdown, plain};
pub use row::Row;
pub use run::{Outcome, Pace, Verdict, run, run_until_clear};
