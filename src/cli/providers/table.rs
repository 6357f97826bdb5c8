//! `otpd providers table`: the table of all kinds of provider. docs/providers.md has it between two marks.

use std::path::PathBuf;

use clap::Args;
use providers::facts;

use crate::outcome::{Failure, Outcome, say};

const BEGIN: &str = "<!-- table of providers: cargo run -- providers table --into docs/providers.md -->\n";
const END: &str = "<!-- end of the table -->";

#[derive(Debug, Args)]
pub(in crate::cli) struct Table {
    /// Renew it between the marks of this page, instead of printing it
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

impl Table {
    pub(super) fn run(self) -> Outcome {
        let Some(file) = self.into else {
            say(facts::table().trim_end());
            return Ok(());
        };
        let name = file.display();
        let page = std::fs::read_to_string(&file).map_err(|error| Failure::failed(format!("{name}: {error}")))?;
        let renewed = renewed(&page, &facts::table());
        let renewed = renewed.ok_or_else(|| Failure::failed(format!("{name} has not the two marks of the table")))?;
        std::fs::write(&file, renewed).map_err(|error| Failure::failed(format!("{name}: {error}")))
    }
}

/// The page with this table between its marks.
fn renewed(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        assert_eq!(renewed(&page, "new\n").as_deref(), Some(format!("a\n{BEGIN}new\n{END}\nb\n").as_str()));
        assert_eq!(renewed("no marks", "new\n"), None);
    }
}
