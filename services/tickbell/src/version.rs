//! The version and the commit that this program was built from.

use std::sync::LazyLock;

use platform::telemetry::Program;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, which the build of an image sets; it is empty on a developer's machine.
const COMMIT: &str = match option_env!("TICKBELL_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// Returns the text of `--version`.
pub(crate) fn display() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| if COMMIT.is_empty() { VERSION.to_owned() } else { format!("{VERSION} ({COMMIT})") });
    &TEXT
}

/// Returns the commit; it is empty on a developer's machine.
pub(crate) const fn commit() -> &'static str {
    COMMIT
}

/// Returns what metrics, traces and error reports say about this program.
pub(crate) const fn program(service: &'static str) -> Program {
    Program { service, version: VERSION, commit: COMMIT }
}
