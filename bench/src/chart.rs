//! The report as a picture: a panel for each scenario, a bar for each server.

use svg::Document;
use svg::node::element::{Group, Rectangle, Text, Title};

use crate::report::{Outcome, Report, Row, figure};

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// Where bars begin, to the right of the servers' names.
const BARS: f64 = 190.0;
/// What the longest bar takes, with room for its figure behind it.
const LONGEST: f64 = 420.0;
const LINE: f64 = 20.0;
const PANEL_HEAD: f64 = 44.0;

pub fn draw(report: &Report) -> Document {
    let mut document = Document::new();
    let mut top = MARGIN;
    document = document.add(text(MARGIN, top + 14.0, "wharf, side by side", 18.0, true));
    document = document.add(text(MARGIN, top + 36.0, &report.machine.to_string(), 12.0, false));
    top += 48.0;
    for outcome in &report.scenarios {
        document = document.add(panel(outcome, top));
        top += PANEL_HEAD + LINE * outcome.rows.len() as f64;
    }
    document
        .set("viewBox", (0.0, 0.0, WIDTH, top + MARGIN))
        .set("width", WIDTH)
        .set("height", top + MARGIN)
        .set("font-family", "system-ui, sans-serif")
        // Black on white wherever it is looked at.
        .set("style", "background: white")
}

fn panel(outcome: &Outcome, top: f64) -> Group {
    let most = outcome.rows.iter().map(|row| row.median).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let title = text(MARGIN, top + 24.0, &outcome.title, 14.0, true);
    let mut group = Group::new().add(title).add(text(MARGIN, top + 38.0, outcome.unit, 11.0, false));
    for (number, row) in outcome.rows.iter().enumerate() {
        let middle = top + PANEL_HEAD + LINE * (number as f64 + 0.5);
        group = group
            .add(text(MARGIN, middle + 4.0, &row.server, 12.0, false))
            .add(bar(row, middle, row.median / most * LONGEST))
            .add(text(BARS + row.median / most * LONGEST + 8.0, middle + 4.0, &label(row), 12.0, false));
    }
    group
}

fn bar(row: &Row, middle: f64, length: f64) -> Rectangle {
    let colour = match (row.server.starts_with("wharf"), row.goal) {
        (true, Some(goal)) if !goal.met => "#d9822b",
        (true, _) => "#1f6feb",
        (false, _) => "#a0a8b0",
    };
    let rounds: Vec<_> = row.rounds.iter().map(|round| figure(*round)).collect();
    Rectangle::new()
        .set("x", BARS)
        .set("y", middle - 7.0)
        .set("width", length.max(1.0))
        .set("height", 14.0)
        .set("rx", 2.0)
        .set("fill", colour)
        .add(Title::new(format!("rounds: {}", rounds.join(", "))))
}

fn label(row: &Row) -> String {
    let ratio = row.ratio.map_or_else(String::new, |ratio| format!("  × {ratio:.2}"));
    let goal = row.goal.map_or_else(String::new, |goal| format!("  ({goal})"));
    format!("{}{ratio}{goal}", figure(row.median))
}

fn text(x: f64, y: f64, content: &str, size: f64, bold: bool) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("font-size", size)
        .set("font-weight", if bold { "bold" } else { "normal" })
        .set("fill", "#1b1f24")
}
