//! The program under test, built once per run so that it is never older than its sources.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

static OPTIMISED: AtomicBool = AtomicBool::new(false);
static COMPLETE: AtomicBool = AtomicBool::new(false);

/// Tests the optimised program, which is deployed. To be called before anything is started.
pub fn use_release_build() {
    OPTIMISED.store(true, Ordering::Relaxed);
}

/// Tests the program with all its optional parts. To be called before anything is started.
pub fn use_complete_build() {
    COMPLETE.store(true, Ordering::Relaxed);
}

/// Returns the folder with the libraries of Kafka, for a Java class path.
///
/// # Panics
/// When it is not there.
pub fn kafka_libraries() -> PathBuf {
    let folder = workspace().join(".tools/kafka/libs");
    assert!(folder.exists(), "{} is missing: run `make tools-kafka`", folder.display());
    folder
}

/// Returns a program of `.tools`.
///
/// # Panics
/// When it is not there.
pub fn tool(name: &str) -> PathBuf {
    let program = workspace().join(".tools/python/bin").join(name);
    assert!(program.exists(), "{} is missing: run `make tools-archive tools-kafka`", program.display());
    program
}

/// Returns `tickbell` beside the folder of this test's own program, built when it is older than its sources.
pub(crate) fn path() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    let folder = std::env::current_exe().expect("a test has a program");
    let folder = folder.parent().and_then(Path::parent).expect("a test's program is in target/<profile>/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(workspace().join("Cargo.toml"));
    // Cargo tells a test about the test's own crate. Build scripts would take that for a change, and build half anew.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        cargo.env_remove(name);
    }
    let folder = if OPTIMISED.load(Ordering::Relaxed) { folder.with_file_name("release") } else { folder.to_owned() };
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if COMPLETE.load(Ordering::Relaxed) {
        // What the Makefile builds for these tests. Another choice of crates has other features of libraries, and would build them anew.
        let features = "tickbell/export,tickbell/kafka,e2e/complete";
        cargo
            .args(["--workspace", "--features", features, "--bin", "tickbell"])
            .args(["--test", "archive", "--test", "kafka"]);
    } else {
        cargo.args(["-p", "tickbell"]);
    }
    let status = cargo.stdout(Stdio::null()).status().expect("cargo runs");
    assert!(status.success(), "tickbell is not built");
    folder.join("tickbell")
}

/// The root of the clone.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("services/e2e is two below the root").to_owned()
}
