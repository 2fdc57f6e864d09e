//! Colours, for a terminal alone and for nobody who has set NO_COLOR. What is written by [`anstream`] has them taken out
//! where they are not wanted.

use clap::builder::styling::{AnsiColor, Style};

/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What did not.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is to be seen first.
pub(super) const HEAD: Style = Style::new().bold();
/// What is beside the point.
pub(super) const ASIDE: Style = Style::new().dimmed();
