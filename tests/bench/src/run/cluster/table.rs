//! What is measured, as tables: for each case a row, for each figure a column, in each cell the median of the runs.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::Bench;
use crate::load::{BUSY, Report};
use crate::run::results::{Figure, middle};

/// One measurement, which becomes a table.
pub struct Measurement {
    /// What `--only` selects by, and the results are kept under.
    pub name: &'static str,
    /// What it is called in the results.
    pub title: String,
    /// What is to be known to read it.
    pub about: &'static str,
    /// The figures that each run brings.
    pub columns: &'static [Column],
    /// How many runs there are at most.
    pub most_runs: usize,
    /// What is compared.
    pub cases: Vec<Case>,
}

/// A figure.
pub struct Column {
    /// What it is, with its unit.
    pub title: &'static str,
    /// Digits behind the point.
    pub decimals: usize,
    /// Whether the least and the most are shown beside the median.
    pub spread: bool,
}

/// Takes one sample.
pub type Measure = dyn Fn(&Bench<'_>) -> Result<Sample>;

/// One of several things that are compared.
pub struct Case {
    /// What it is called in the results.
    pub label: String,
    /// Measures it once.
    pub measure: Box<Measure>,
}

/// What one run has brought.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// A figure for each column; none where it makes no sense.
    pub figures: Vec<Option<f64>>,
    /// Whether the generator was as busy as it can be.
    pub busy: bool,
    /// Whether something else ran on the generator's core.
    pub disturbed: bool,
}

/// A measurement and what it has brought.
pub struct Table {
    name: &'static str,
    title: String,
    about: &'static str,
    columns: &'static [Column],
    /// The cases with their runs.
    rows: Vec<(String, Vec<Sample>)>,
}

impl Column {
    /// A figure whose median is enough.
    pub const fn new(title: &'static str, decimals: usize) -> Self {
        Self {
            title,
            decimals,
            spread: false,
        }
    }

    /// A figure with its least and its most.
    pub const fn with_spread(title: &'static str, decimals: usize) -> Self {
        Self {
            title,
            decimals,
            spread: true,
        }
    }

    fn cell(&self, figure: Option<Figure>) -> String {
        let Some(Figure {
            median,
            least,
            most,
        }) = figure
        else {
            return String::new();
        };
        let digits = self.decimals;
        match self.spread && least < most {
            true => format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"),
            false => format!("{median:.digits$}"),
        }
    }
}

impl Case {
    /// A case that is measured so.
    pub fn new(
        label: impl Into<String>,
        measure: impl Fn(&Bench<'_>) -> Result<Sample> + 'static,
    ) -> Self {
        Self {
            label: label.into(),
            measure: Box::new(measure),
        }
    }
}

impl Sample {
    /// Figures of a load.
    pub fn of(report: &Report, figures: Vec<Option<f64>>) -> Self {
        Self {
            figures,
            busy: report.generator_share > BUSY,
            disturbed: report.disturbed(),
        }
    }

    /// What is shown of it while more is measured.
    pub fn show(&self, columns: &[Column]) -> String {
        let figures = columns.iter().zip(&self.figures);
        let shown: Vec<_> = figures
            .filter_map(|(column, figure)| {
                let digits = column.decimals;
                Some(format!("{}: {:.digits$}", column.title, (*figure)?))
            })
            .collect();
        let warning = match self.disturbed {
            true => "\n  WARNING: other processes ran on the generator's core",
            false => "",
        };
        shown.join(", ") + warning
    }
}

impl Table {
    /// No runs yet.
    pub fn new(measurement: &Measurement) -> Self {
        Self {
            name: measurement.name,
            title: measurement.title.clone(),
            about: measurement.about,
            columns: measurement.columns,
            rows: Vec::new(),
        }
    }

    /// Adds a run.
    pub fn add(&mut self, case: &Case, sample: Sample) {
        match self.rows.iter_mut().find(|(label, _)| *label == case.label) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((case.label.clone(), vec![sample])),
        }
    }

    /// How many runs there were, and how many of them were disturbed.
    pub fn disturbed(&self) -> (usize, usize) {
        let samples = || self.rows.iter().flat_map(|(_, samples)| samples);
        let disturbed = samples().filter(|sample| sample.disturbed);
        (samples().count(), disturbed.count())
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n### {}\n\n", self.title);
        if !self.about.is_empty() {
            text += &format!("{}\n\n", self.about);
        }
        let titles: Vec<_> = self.columns.iter().map(|column| column.title).collect();
        text += &format!("| | {} |\n", titles.join(" | "));
        text += &format!("|---{}|\n", "|---".repeat(titles.len()));
        for (label, samples) in &self.rows {
            let cells = self.columns.iter().enumerate().map(|(index, column)| {
                let figures = samples.iter().filter_map(|sample| sample.figures[index]);
                column.cell(middle(figures.collect()))
            });
            let cells: Vec<_> = cells.collect();
            text += &format!("| {label} | {} |\n", cells.join(" | "));
        }
        let warnings: String = self.warnings().collect();
        if !warnings.is_empty() {
            text += &format!("\nRuns with a warning:\n{warnings}");
        }
        text
    }

    fn warnings(&self) -> impl Iterator<Item = String> {
        let warn = |label: &str, samples: &[Sample], warned: fn(&Sample) -> bool, warning| {
            let runs = samples.iter().filter(|sample| warned(sample)).count();
            let all = samples.len();
            (runs > 0).then(|| format!("- {label}, {runs} of {all}: {warning}\n"))
        };
        self.rows.iter().flat_map(move |(label, samples)| {
            let busy = "the generator was as busy as it can be, and may be what limits the rate";
            let disturbed = "**disturbed** by other processes on the generator's core";
            let busy = warn(label, samples, |sample| sample.busy, busy);
            let disturbed = warn(label, samples, |sample| sample.disturbed, disturbed);
            busy.into_iter().chain(disturbed)
        })
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title).collect();
        let rows = self
            .rows
            .iter()
            .map(|(label, samples)| json!({ "case": label, "runs": samples }));
        let rows: Vec<_> = rows.collect();
        json!({ "measurement": self.name, "columns": titles, "rows": rows })
    }
}
