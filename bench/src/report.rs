//! What came out: figures of rounds, their medians, and their ratios to the baseline.

use std::fmt::Write;

use serde::Serialize;

use crate::machine::Machine;

/// A run, as it is written to `results.json`.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    pub seconds_per_round: f64,
    pub scenarios: Vec<Outcome>,
    /// Servers that could not be had, and why.
    pub missing: Vec<String>,
}

/// One scenario's table.
#[derive(Serialize)]
pub struct Outcome {
    pub name: String,
    pub title: String,
    pub unit: &'static str,
    pub rows: Vec<Row>,
}

/// One server's line in it.
#[derive(Serialize)]
pub struct Row {
    pub server: String,
    /// One figure a round, in the scenario's unit.
    pub rounds: Vec<f64>,
    pub median: f64,
    /// Beside figures, by name: operations a second, shares of user and system time.
    pub beside: Vec<(&'static str, f64)>,
    /// To the baseline's median, where there is one.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Goal {
    pub of: Of,
    pub bound: Bound,
    pub met: bool,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// The ratio to the baseline.
    Ratio,
    /// The figure itself.
    Figure,
    /// How many times the figure the same of wharf fits into this peer's.
    Times,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub fn met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, value) = match self.bound {
            Bound::AtMost(value) => ("≤", value),
            Bound::AtLeast(value) => ("≥", value),
        };
        let of = if self.of == Of::Times { " × wharf" } else { "" };
        let verdict = if self.met { "met" } else { "SHORT" };
        write!(f, "{sign} {value}{of}: {verdict}")
    }
}

/// The middle one; the mean of the two in the middle where they are even in number.
///
/// # Panics
/// Of no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

impl Outcome {
    pub fn new(name: &str, title: &str, unit: &'static str, rows: Vec<Row>) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), unit, rows }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        let mut text = format!("\n{} [{}]\n", self.title, self.unit);
        let _ = writeln!(
            text,
            "  {:<16} {:>10} {:>10} {:>10} {:>8}  {:<24} beside",
            "server", "median", "least", "most", "ratio", "goal"
        );
        for row in &self.rows {
            let least = row.rounds.iter().copied().fold(f64::INFINITY, f64::min);
            let most = row.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            let goal = row.goal.map_or_else(String::new, |goal| goal.to_string());
            let beside: Vec<_> = row.beside.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect();
            let _ = writeln!(
                text,
                "  {:<16} {:>10} {:>10} {:>10} {:>8}  {:<24} {}",
                row.server,
                figure(row.median),
                figure(least),
                figure(most),
                ratio,
                goal,
                beside.join(", ")
            );
        }
        text
    }
}

impl Row {
    pub fn new(server: impl Into<String>, rounds: Vec<f64>) -> Self {
        Self { server: server.into(), median: median(&rounds), rounds, beside: Vec::new(), ratio: None, goal: None }
    }
}

/// Three digits that mean something.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        below_ten if below_ten < 10.0 => format!("{value:.2}"),
        below_hundred if below_hundred < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn a_bound_includes_itself() {
        assert!(Bound::AtMost(1.05).met_by(1.05));
        assert!(!Bound::AtMost(1.05).met_by(1.06));
        assert!(Bound::AtLeast(0.97).met_by(0.97));
        assert!(!Bound::AtLeast(0.97).met_by(0.96));
    }
}
