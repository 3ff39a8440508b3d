//! A migrated database cluster and empty streams that are made once per run of the tests, and copied for each system.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::{Server, System};

const PREFIX: &str = "tickbell-e2e-template-";
/// The entries that are copied: the format number, the cluster and its password, and the streams, which the database has noted as
/// those that it has read. Ports and other secrets are made anew.
const COPIED: [&str; 4] = ["format", "postgres", "postgres.secret", "nats"];
/// Nothing but a power cut of the whole machine would need it, and no test cuts that.
const WITHOUT_FSYNC: &str = "fsync = off\n";

/// Begins a data directory with a copy of the cluster.
pub(super) async fn copy_to(data: &Path) {
    static TEMPLATE: OnceCell<PathBuf> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(make).await;
    fs::create_dir_all(data).expect("a folder");
    copy(template, data);
}

/// Lets `tickbell up` make and migrate a cluster, and stops it.
async fn make() -> PathBuf {
    remove_leftovers();
    let template = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    let mut system = System::new(&[], None);
    system.up().await;
    assert!(system.server(Server::Postgres).is_some(), "`up` runs a cluster of its own");
    system.take().stop(Signal::SIGTERM).await;
    fs::create_dir_all(&template).expect("a folder");
    copy(&system.data(), &template);
    let settings = fs::File::options().append(true).open(template.join("postgres/postgresql.auto.conf"));
    settings.and_then(|mut file| file.write_all(WITHOUT_FSYNC.as_bytes())).expect("the cluster's settings");
    template
}

/// Copies with owners and times: PostgreSQL insists on the first.
fn copy(from: &Path, to: &Path) {
    let sources = COPIED.map(|name| from.join(name));
    let status = Command::new("cp").arg("-a").args(sources).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} was not copied to {}", from.display(), to.display());
}

/// Removes the templates of runs that have ended: a run cannot do it for itself.
fn remove_leftovers() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(PREFIX).is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another run may do the same at this moment.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
