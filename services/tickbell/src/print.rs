//! The only place that writes to the terminal.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The first error of standard output. Commands print their answer line by line, often after something has been done that
/// cannot be undone, so the error does not stop them: [`finish`] reports it at the end.
static FIRST_ERROR: Mutex<Option<io::Error>> = Mutex::new(None);

/// Whether the reader of standard output has gone away.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Prints a line of the command's answer on standard output.
pub(crate) fn print(line: &str) {
    record(writeln!(io::stdout().lock(), "{line}"));
}

/// Writes a part of the command's answer on standard output as it is.
pub(crate) fn write_answer(bytes: &[u8]) {
    record(io::stdout().lock().write_all(bytes));
}

/// Returns the first error of standard output. A reader that has gone away is none: `head` has read what it wanted.
pub(crate) fn finish() -> io::Result<()> {
    record(io::stdout().lock().flush());
    FIRST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

/// Returns whether the reader of standard output has gone away, or it failed: a command without an end then ends.
pub(crate) fn is_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}

/// Notes the outcome of a write to standard output.
pub(crate) fn record(outcome: io::Result<()>) {
    let Err(error) = outcome else { return };
    IS_CLOSED.store(true, Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe {
        FIRST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Prints a line about an error or a refusal on standard error. Nothing can report when that fails too.
pub(crate) fn eprint(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
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
