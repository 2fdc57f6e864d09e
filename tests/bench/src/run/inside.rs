//! What the runtime's own benchmark `inside` has measured before this one, as criterion keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The measurements, by the folder that criterion keeps them in.
pub const MEASUREMENTS: [(&str, &str); 6] = [
    ("call", "A call into a guest that sends back what it gets"),
    ("publish/1", "A publish to a room of 1"),
    ("publish/100", "A publish to a room of 100"),
    ("publish/10000", "A publish to a room of 10,000"),
    ("load", "Loading a plugin whose code is cached"),
    ("instance", "A new instance and its first call"),
];

/// The medians in nanoseconds, of those that there are.
pub fn read(folder: &Path) -> BTreeMap<&'static str, f64> {
    let median = |name| {
        let text = fs::read_to_string(folder.join(name).join("new/estimates.json")).ok()?;
        let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    };
    let all = MEASUREMENTS.iter().map(|(name, _)| (*name, median(name)));
    all.filter_map(|(name, median)| Some((name, median?)))
        .collect()
}
