//! The folder of a system: removed when its test passes, and left for whoever looks into a failure.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Set to 1, it leaves the folder of every test; see `make e2e`.
const KEEP: &str = "TICKBELL_TEST_KEEP";

/// Holds the data directory and the logs of one system.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tickbell-e2e-").tempdir().expect("a folder");
        // PostgreSQL runs as another user when the test runs as root, and must be able to enter.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.path().join("up.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os(KEEP).is_some_and(|keep| keep == "1") {
            self.0.disable_cleanup(true);
            // Not by a macro, whose output a test that passes does not show.
            let _ = writeln!(std::io::stderr(), "data and logs of the system are in {}", self.0.path().display());
        }
    }
}
