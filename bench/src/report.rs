//! What is said while it runs, and the figures that come of it.

use serde_json::{Value, json};

use crate::figure::{Figure, Verdict};
use crate::machine::Machine;
use crate::settings::Settings;
use crate::table;

#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    settings: Settings,
    figures: Vec<Figure>,
}

/// One line about what is going on, on stderr: stdout is for the table.
#[expect(clippy::print_stderr, reason = "the one place where progress is told")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}

/// What was asked for, on stdout.
#[expect(clippy::print_stdout, reason = "the one place where results are printed")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

impl Report {
    pub(crate) fn new(machine: Machine, settings: Settings) -> Self {
        Self { machine, settings, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        progress(&format!("  = {}", table::line(&figure)));
        self.figures.push(figure);
    }

    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    pub(crate) fn misses(&self) -> usize {
        self.figures.iter().filter(|figure| figure.verdict == Verdict::Miss).count()
    }

    /// Figures under their names, and what they were measured with.
    pub(crate) fn json(&self) -> Value {
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|figure| (figure.name.clone(), json!(figure))).collect();
        json!({ "head": self.head(), "machine": self.machine, "settings": self.settings, "figures": figures })
    }

    /// The head and the table, as Markdown.
    pub(crate) fn text(&self) -> String {
        format!("{}\n\n{}", self.head(), table::markdown(&self.figures))
    }

    /// What it was measured on, with and how.
    pub(crate) fn head(&self) -> String {
        let settings = &self.settings;
        let many = settings.database.as_ref().map_or_else(
            || format!("{} verifications where there are many", settings.rows),
            |database| format!("the verifications of {database} where there are many"),
        );
        let shrunk = if settings.quick { "; quick: these figures say nothing about speed" } else { "" };
        format!(
            "{}\n{} rounds of {} s, {} connections, {} projects, bursts of {}, a provider of {} ms, {many}{shrunk}",
            self.machine,
            settings.rounds,
            settings.seconds,
            settings.connections,
            settings.projects,
            settings.burst,
            settings.provider_ms,
        )
    }
}
