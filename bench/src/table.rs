//! Figures as a table that is read as it stands, and as Markdown.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::failure::Outcome;
use crate::figure::{Figure, Target, Verdict};

const HEAD: [&str; 7] = ["", "figure", "ours", "baseline", "ratio", "target", ""];

/// The table, in columns of one width, which are valid Markdown.
pub(crate) fn markdown(figures: &[Figure]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(figures.iter().map(row));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut lines: Vec<String> = rows.iter().map(|row| joined(row, &widths)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1, format!("| {} |", rule.join(" | ")));
    let notes: Vec<String> = figures
        .iter()
        .filter_map(|figure| figure.note.as_ref().map(|note| format!("- {}: {note}", figure.name)))
        .collect();
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines.join("\n")
}

fn joined(row: &[String; 7], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

fn row(figure: &Figure) -> [String; 7] {
    let baseline = match (&figure.beside, figure.baseline) {
        (Some(name), Some(value)) => format!("{name} {}", number(value)),
        _ => String::new(),
    };
    [
        figure.name.clone(),
        figure.what.clone(),
        format!("{} {}", number(figure.ours), figure.unit),
        baseline,
        figure.ratio.map(ratio).unwrap_or_default(),
        target(figure),
        verdict(figure.verdict).to_owned(),
    ]
}

/// One figure on one line.
pub(crate) fn line(figure: &Figure) -> String {
    let cells = row(figure);
    cells.iter().filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>().join("  ")
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn ratio(value: f64) -> String {
    if value < 1.0 { format!("{value:.3} ×") } else { format!("{value:.2} ×") }
}

fn target(figure: &Figure) -> String {
    match figure.target {
        Target::RatioAtLeast(least) => format!("≥ {least} ×"),
        Target::RatioAtMost(most) => format!("≤ {most} ×"),
        Target::RatioAbout(aim) => format!("{aim} × within 10 %"),
        Target::AtMost(most) => format!("≤ {} {}", (most * 10.0).round() / 10.0, figure.unit),
        Target::None => String::new(),
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Miss => "miss",
        Verdict::Void => "void",
        Verdict::Reported => "",
    }
}

/// The table of a file that `--json` has written, in the order in which it was measured.
pub(crate) fn of_file(file: &Path) -> Outcome<String> {
    #[derive(Deserialize)]
    struct Kept {
        head: String,
        figures: serde_json::Map<String, Value>,
    }
    let kept: Kept = serde_json::from_slice(&std::fs::read(file)?)?;
    let mut figures: Vec<Figure> =
        kept.figures.into_iter().map(|(_, figure)| serde_json::from_value(figure)).collect::<Result<_, _>>()?;
    figures.sort_by_key(|figure| order(&figure.name));
    Ok(format!("{}\n\n{}", kept.head, markdown(&figures)))
}

/// `S10` comes after `S9`, and `S1.echo` after `S1`.
pub(crate) fn order(name: &str) -> (u32, String) {
    let (main, sub) = name.split_once('.').unwrap_or((name, ""));
    (main.trim_start_matches('S').parse().unwrap_or(u32::MAX), sub.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_figure_and_a_note_below() {
        let figures = [
            Figure::new("S1", "accept", "1/s", 20_000.4).beside("naive", 4_000.0).target(Target::RatioAtLeast(4.0)),
            Figure::new("S6", "accept p99", "ms", 5.25).target(Target::AtMost(5.0)).note("busy"),
        ];
        let expected = "\
            |     | figure     | ours      | baseline   | ratio  | target |      |\n\
            | --- | ---------- | --------- | ---------- | ------ | ------ | ---- |\n\
            | S1  | accept     | 20000 1/s | naive 4000 | 5.00 × | ≥ 4 ×  | pass |\n\
            | S6  | accept p99 | 5.25 ms   |            |        | ≤ 5 ms | miss |\n\
            \n\
            - S6: busy";
        assert_eq!(markdown(&figures), expected);
    }

    #[test]
    fn figures_are_in_the_order_of_their_numbers() {
        let mut names = ["S10", "S1.echo", "S9", "S1"];
        names.sort_by_key(|name| order(name));
        assert_eq!(names, ["S1", "S1.echo", "S9", "S10"]);
    }
}
