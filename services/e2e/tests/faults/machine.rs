//! The machine that a run is on, and its terminal.

use std::io::Write;

/// By how much slower the machine may be than the bounds assume: `FAULTS_FACTOR`, 1 unless it is set.
pub(crate) fn factor() -> u32 {
    let set = std::env::var_os("FAULTS_FACTOR");
    set.and_then(|value| value.to_str()?.parse().ok()).unwrap_or(1)
}

/// The load of the machine, which explains a slow recovery.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim_end().to_owned()
}

/// Prints a line of progress.
pub(crate) fn say(line: &str) {
    // Whoever has closed the output does not want to read it.
    let _ = writeln!(std::io::stderr(), "{line}");
}
