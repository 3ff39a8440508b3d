//! A running `tickbell` with its log in a file, ended when it is dropped.

mod ports;
pub(crate) mod program;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub use ports::free_address;
pub use program::{kafka_libraries, tool, use_complete_build, use_release_build};

use crate::wait_until;

/// How long anything may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(10);
/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 150;

/// A program that runs beside the test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        let err = out.try_clone().expect("one more handle");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("the program starts");
        Self { child, log: log.to_owned() }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_until("the program ends", limit, async || self.ended()).await
    }

    /// Asks it to stop by `signal`, which must take less than ten seconds and end with status 0.
    pub async fn stop(mut self, signal: Signal) {
        self.signal(signal);
        let status = self.wait(STOP).await;
        assert_eq!(status.code(), Some(0), "{signal} ended it with {status}");
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.end();
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    pub(crate) fn end(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines.split_at(lines.len().saturating_sub(SHOWN_LINES)).1.join("\n");
            eprintln!("--- the end of {} ---\n{shown}\n---", self.log.display());
        }
    }
}

/// Sends a signal to a process that this test has started, directly or not; one that is gone is no error.
pub fn send(id: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(id as i32), signal);
}

/// A process and all its descendants that are stopped until this is dropped: whoever is connected to them waits.
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Stops a process and its descendants.
    pub fn freeze(id: u32) -> Self {
        let mut ids = vec![id];
        let mut seen = 0;
        while let Some(parent) = ids.get(seen) {
            // The parent is stopped before its children are listed, so that it starts no more.
            send(*parent, Signal::SIGSTOP);
            ids.extend(children(*parent));
            seen += 1;
        }
        Self(ids)
    }

    /// The numbers of the processes.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.0
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|id| send(*id, Signal::SIGCONT));
    }
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    listed.flat_map(|ids| ids.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The program, with none of the settings that the environment of the test may hold.
pub fn tickbell(folder: &Path) -> Command {
    command(program::path(), folder)
}

/// Another build of the program, with none of those settings either.
pub(crate) fn command(path: &Path, folder: &Path) -> Command {
    let mut command = Command::new(path);
    let foreign = |name: &str| name.starts_with("TICKBELL_") || ["NATS_URL", "DATABASE_URL"].contains(&name);
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    // Away from any tickbell.toml.
    command.current_dir(folder);
    command
}
