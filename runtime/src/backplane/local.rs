//! One node, which is everybody.

use super::{Backplane, Published};
use crate::hub::{Audience, Frame, Namespace};

/// The backplane of a node that stands alone.
#[derive(Debug, Default)]
pub struct Local;

impl Backplane for Local {
    fn publish(&self, namespace: &Namespace, audience: Audience<'_>, frame: &Frame) -> Published {
        Published {
            here: namespace.deliver(audience, frame),
            elsewhere: Ok(()),
        }
    }
}
