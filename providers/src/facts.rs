//! What the page about providers says of each kind: kept in the vendor's file beside the code that makes it true, and laid
//! out as the table in docs/providers.md.

use common::otp::channel::Channel;

use crate::registry::{KINDS, Kind};
use crate::usual;

/// For people who choose a vendor.
pub(crate) struct Facts {
    /// As its makers write it.
    pub(crate) title: &'static str,
    pub(crate) channels: &'static [Channel],
    /// How receipts find the way here.
    pub(crate) receipts: &'static str,
    /// What shows that a receipt is the vendor's.
    pub(crate) signature: &'static str,
    /// What a check asks for.
    pub(crate) check: &'static str,
    /// What it needs besides the variables that switch it on.
    pub(crate) needs: &'static str,
    pub(crate) certainty: &'static str,
}

const HEAD: &str =
    "| vendor | channels | receipts | signature | check | settings | certainty |\n|---|---|---|---|---|---|---|\n";

/// The table of all kinds, in Markdown.
#[must_use]
pub fn table() -> String {
    KINDS.iter().fold(HEAD.to_owned(), |table, kind| table + &row(kind))
}

fn row(kind: &Kind) -> String {
    let Facts { title, channels, receipts, signature, check, needs, certainty } = kind.facts;
    let channels = channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ");
    let variables = quoted(&usual::variables_of(kind));
    let settings =
        [variables.as_str(), needs].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let anchor = kind.name;
    format!("| [{title}](#{anchor}) | {channels} | {receipts} | {signature} | {check} | {settings} | {certainty} |\n")
}

/// Names of variables as code.
fn quoted(words: &str) -> String {
    let is_name = |word: &str| word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let quote = |word: &str| {
        let name = word.trim_end_matches(',');
        if is_name(name) { format!("`{name}`{}", &word[name.len()..]) } else { word.to_owned() }
    };
    words.split(' ').map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_whole_row() {
        let table = table();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), KINDS.len());
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 7 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        }
    }

    #[test]
    fn variables_are_shown_as_code() {
        assert_eq!(quoted("A_B, C_D and E_F, or none"), "`A_B`, `C_D` and `E_F`, or none");
    }
}
