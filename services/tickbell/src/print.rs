//! The only place that writes to the terminal.

use std::io::Write;

/// A line of what was asked for, on standard output. A reader that has gone away is no error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line about what went wrong, on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Lines in columns, under a header.
pub(crate) fn table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |cells: [&str; N]| {
        let cells = cells.iter().enumerate();
        let padded = cells.map(|(n, cell)| format!("{cell:<width$}", width = widest(n).max(header[n].len())));
        say(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(*header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
}
