//! The numbers of what joins the nodes, when there are to be others.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::backplane::{Numbers, Reason};

/// What is told of it, once.
#[derive(Debug)]
pub(super) struct Joined(pub(super) Numbers);

impl Collector for Joined {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(connected) = self.0.connected else {
            return Ok(());
        };
        let levels = [
            (
                "backplane_connected",
                "Whether there is a connection to the other nodes: 1, or 0",
                u64::from(connected),
            ),
            (
                "backplane_nodes",
                "Nodes that reach each other, this one among them",
                self.0.others + 1,
            ),
            (
                "backplane_subscriptions",
                "What other nodes are asked for: rooms that sockets of this node are in, and two for each namespace",
                self.0.subscriptions,
            ),
        ];
        for (name, help, level) in levels {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge);
            { family? }.encode_gauge(&level)?;
        }
        let counts = [
            (
                "backplane_published",
                "Messages that were handed on to other nodes, and answers to them",
                self.0.published,
            ),
            (
                "backplane_received",
                "Messages that have come from other nodes for sockets of this one",
                self.0.received,
            ),
        ];
        for (name, help, count) in counts {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter);
            { family? }.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let mut family = encoder.encode_descriptor(
            "backplane_lost",
            "Messages that were lost between nodes, by why",
            None,
            MetricType::Counter,
        )?;
        for reason in Reason::ALL {
            family
                .encode_family(&[("reason", reason.name())])?
                .encode_counter::<NoLabelSet, _, u64>(&self.0.lost[reason as usize], None)?;
        }
        Ok(())
    }
}
