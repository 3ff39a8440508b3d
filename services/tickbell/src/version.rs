//! What this program is built from.

use std::sync::LazyLock;

use platform::telemetry::Program;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set by an image's build; empty on a developer's machine.
const COMMIT: &str = match option_env!("TICKBELL_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// For `--version`.
pub(crate) fn shown() -> &'static str {
    static SHOWN: LazyLock<String> =
        LazyLock::new(|| if COMMIT.is_empty() { VERSION.to_owned() } else { format!("{VERSION} ({COMMIT})") });
    &SHOWN
}

/// For metrics, traces and error reports.
pub(crate) const fn program(service: &'static str) -> Program {
    Program { service, version: VERSION, commit: COMMIT }
}
