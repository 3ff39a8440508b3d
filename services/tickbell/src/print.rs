//! The only place that writes to the terminal.

use std::io::Write;

/// Prints a line of the command's answer on standard output. A reader that has gone away is no error.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line about an error or a refusal on standard error.
pub(crate) fn eprint(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints rows in aligned columns under a header.
pub(crate) fn print_table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |cells: [&str; N]| {
        let cells = cells.iter().enumerate();
        let padded = cells.map(|(n, cell)| format!("{cell:<width$}", width = widest(n).max(header[n].len())));
        print(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(*header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
}
