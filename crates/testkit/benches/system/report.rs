//! What was measured: one row a figure, with the lowest, the median and the highest of its rounds, as a table and as JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::available_parallelism;

use serde_json::{Value, json};

/// What a figure should reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {}", number(bound)),
            Self::AtMost(bound) => format!("≤ {}", number(bound)),
        }
    }
}

/// A figure: a value for each round.
pub(crate) struct Row {
    what: String,
    /// What a ratio compares with.
    against: Option<String>,
    unit: &'static str,
    /// In ascending order, never empty.
    values: Vec<f64>,
    target: Option<Target>,
}

impl Row {
    pub(crate) fn target(&mut self, target: Target) {
        self.target = Some(target);
    }

    fn min(&self) -> f64 {
        self.values[0]
    }

    fn median(&self) -> f64 {
        let count = self.values.len();
        f64::midpoint(self.values[count / 2], self.values[(count - 1) / 2])
    }

    fn max(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    fn title(&self) -> String {
        match &self.against {
            Some(against) => format!("{} : {against}", self.what),
            None => self.what.clone(),
        }
    }

    /// The text of each column.
    fn cells(&self) -> [String; 7] {
        let met = self.target.map_or("", |target| if target.holds(self.median()) { "yes" } else { "NO" });
        [
            self.title(),
            number(self.min()),
            number(self.median()),
            number(self.max()),
            self.unit.to_owned(),
            self.target.map(Target::text).unwrap_or_default(),
            met.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "figure": self.what,
            "against": self.against,
            "unit": self.unit,
            "rounds": self.values.len(),
            "min": self.min(),
            "median": self.median(),
            "max": self.max(),
            "target": self.target.map(Target::text),
            "met": self.target.map(|target| target.holds(self.median())),
        })
    }
}

/// All that one run measures.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A figure in `unit`, a value for each round.
    pub(crate) fn figure(&mut self, what: &str, unit: &'static str, values: &[f64]) -> &mut Row {
        self.add(what, None, unit, values.to_vec())
    }

    /// `values` as multiples of those of `against`, round by round.
    pub(crate) fn ratio(&mut self, what: &str, against: &str, values: &[f64], bare: &[f64]) -> &mut Row {
        let ratios = values.iter().zip(bare).map(|(value, bare)| value / bare).collect();
        self.add(what, Some(against.to_owned()), "times", ratios)
    }

    fn add(&mut self, what: &str, against: Option<String>, unit: &'static str, mut values: Vec<f64>) -> &mut Row {
        values.sort_by(f64::total_cmp);
        let row = Row { what: what.to_owned(), against, unit, values, target: None };
        eprintln!("  {}: {} {unit}", row.title(), number(row.median()));
        self.rows.push(row);
        self.rows.last_mut().unwrap()
    }

    /// The table, as it goes to a terminal.
    pub(crate) fn table(&self) -> String {
        let head = ["figure (: against)", "min", "median", "max", "unit", "target", "met"].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let mut table = String::new();
        for line in &lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Numbers are read from the right.
                let _written = match column {
                    1..=3 => write!(text, "  {cell:>width$}"),
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "  {cell:<width$}"),
                };
            }
            table.push_str(text.trim_end());
            table.push('\n');
        }
        table
    }

    /// Writes all of it to `path`, for programs.
    pub(crate) fn write(&self, path: &Path) {
        let cores = available_parallelism().map_or(0, usize::from);
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let report = json!({"version": env!("CARGO_PKG_VERSION"), "cores": cores, "rows": rows});
        std::fs::write(path, format!("{report:#}\n")).unwrap();
    }
}

/// As many digits as tell something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
