//! What the suite has found, as a table, and whether it is good enough.

use std::collections::BTreeMap;
use std::fmt;

use tulpar_tests::Value;

/// A case's number, such as 6.4.1.
type Number = Vec<u32>;

/// What the suite says of one case: how it went, and how the connection was closed.
struct Outcome {
    behaviour: String,
    closing: String,
    code: Option<u64>,
}

impl Outcome {
    fn is_ok(&self) -> bool {
        self.behaviour == "OK" && self.closing == "OK"
    }

    /// Informational cases have no right answer. What is within the specification but not the best it would allow is
    /// NON-STRICT, which does not do here.
    fn is_good(&self) -> bool {
        let good = |said: &str| matches!(said, "OK" | "INFORMATIONAL");
        good(&self.behaviour) && good(&self.closing)
    }
}

/// What the suite says of all cases.
pub struct Verdict(BTreeMap<Number, Outcome>);

impl Verdict {
    /// Reads the suite's `index.json`; none when it is not one.
    pub fn read(index: &Value) -> Option<Self> {
        let (_, cases) = index.as_object()?.iter().next()?;
        let cases = cases.as_object()?.iter().map(|(number, case)| {
            let number = number.split('.').map(str::parse).collect::<Result<_, _>>();
            let outcome = Outcome {
                behaviour: case["behavior"].as_str()?.to_owned(),
                closing: case["behaviorClose"].as_str()?.to_owned(),
                code: case["remoteCloseCode"].as_u64(),
            };
            Some((number.ok()?, outcome))
        });
        Some(Self(cases.collect::<Option<_>>()?))
    }

    /// How many cases there were.
    pub fn cases(&self) -> usize {
        self.0.len()
    }

    /// Whether all are good.
    pub fn is_good(&self) -> bool {
        self.0.values().all(Outcome::is_good)
    }
}

/// A row for each chapter with a column for each behaviour, and a line for each case that is not simply OK.
impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns: Vec<_> = self.0.values().map(|it| it.behaviour.as_str()).collect();
        columns.sort_unstable();
        columns.dedup();
        columns.sort_by_key(|column| *column != "OK");
        let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (number, outcome) in &self.0 {
            let chapter = number.first().copied().unwrap_or_default();
            let row = rows.entry(chapter).or_insert(vec![0; columns.len()]);
            let column = columns.iter().position(|it| *it == outcome.behaviour);
            row[column.unwrap_or_default()] += 1;
        }
        let mut total = vec![0; columns.len()];
        write!(out, "{:<24}", "")?;
        columns
            .iter()
            .try_for_each(|column| write!(out, "  {column}"))?;
        writeln!(out)?;
        let mut line = |title: &str, counts: &[usize]| {
            write!(out, "{title:<24}")?;
            for (column, count) in columns.iter().zip(counts) {
                let width = column.len();
                match count {
                    0 => write!(out, "  {:>width$}", "")?,
                    count => write!(out, "  {count:>width$}")?,
                }
            }
            writeln!(out)
        };
        for (chapter, counts) in &rows {
            line(&format!("{chapter:>2} {}", title(*chapter)), counts)?;
            total
                .iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
        line("   all", &total)?;
        for (number, outcome) in self.0.iter().filter(|(_, outcome)| !outcome.is_ok()) {
            let number: Vec<_> = number.iter().map(u32::to_string).collect();
            let Outcome {
                behaviour, closing, ..
            } = outcome;
            write!(out, "{}: {behaviour}, closing {closing}", number.join("."))?;
            match outcome.code {
                Some(code) => writeln!(out, " ({code})")?,
                None => writeln!(out, " (no close code)")?,
            }
        }
        Ok(())
    }
}

/// What the suite's chapters are about.
fn title(chapter: u32) -> &'static str {
    match chapter {
        1 => "framing",
        2 => "pings and pongs",
        3 => "reserved bits",
        4 => "opcodes",
        5 => "fragmentation",
        6 => "UTF-8",
        7 => "close handshake",
        9 => "limits, performance",
        10 => "auto-fragmentation",
        12 | 13 => "permessage-deflate",
        _ => "",
    }
}
