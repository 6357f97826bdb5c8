//! Tables on a terminal: columns as wide as what stands in them.

const GAP: &str = "  ";

/// The head and the rows, aligned; the last column may be as long as it likes.
pub(crate) fn aligned<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let shown = lines().map(|line| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd", "-"], ["ÄÖÜß", "", "long words"]].map(|row| row.map(str::to_owned));
        let expected = "x     y    z\na     bcd  -\nÄÖÜß       long words";
        assert_eq!(aligned(["x", "y", "z"], &rows), expected);
    }
}
