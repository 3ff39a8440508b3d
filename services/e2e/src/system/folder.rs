//! The folder of a system: removed when its test passes, and left for whoever looks into a failure.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use tempfile::TempDir;

/// Set to 1, it leaves the folder of every test; see `make e2e`.
const KEEP: &str = "TICKBELL_TEST_KEEP";

/// Holds the data directory and the logs of one system.
pub(super) struct Folder {
    folder: TempDir,
    is_wanted: AtomicBool,
}

impl Folder {
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tickbell-e2e-").tempdir().expect("a folder");
        // PostgreSQL runs as another user when the test runs as root, and must be able to enter.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
        Self { folder, is_wanted: AtomicBool::new(false) }
    }

    /// Leaves the folder for whoever looks into it.
    pub(super) fn keep(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("up.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let is_wanted = *self.is_wanted.get_mut() || std::env::var_os(KEEP).is_some_and(|keep| keep == "1");
        if std::thread::panicking() || is_wanted {
            self.folder.disable_cleanup(true);
            // Not by a macro, whose output a test that passes does not show.
            let _ = writeln!(std::io::stderr(), "data and logs of the system are in {}", self.folder.path().display());
        }
    }
}
