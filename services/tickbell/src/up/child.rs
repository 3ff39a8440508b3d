//! A server as a child process: it is started, restarted when it dies, and stopped on shutdown.

use std::{path::Path, time::Duration};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use platform::{Shutdown, runtime::backoff::backoff};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

/// The longest wait for a server to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval between two looks at a process that is not our child.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How to start a server, and the signal that asks it to stop.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) command: Box<dyn Fn() -> anyhow::Result<Command> + Send + Sync>,
    pub(crate) stop: Signal,
}

/// A server that runs and is restarted when it dies.
pub(crate) struct RunningServer {
    name: &'static str,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts the server, and restarts it in the background whenever it dies.
    pub(crate) fn start(self) -> anyhow::Result<RunningServer> {
        let child = self.spawn()?;
        let (name, shutdown) = (self.name, Shutdown::new());
        let task = tokio::spawn(supervise(self, child, shutdown.clone()));
        Ok(RunningServer { name, shutdown, task })
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        // A process group of its own: Ctrl-C on a terminal must reach only this process, which stops the servers last.
        let mut command = (self.command)()?;
        command.process_group(0).kill_on_drop(true).spawn().with_context(|| format!("start {}", self.name))
    }
}

impl RunningServer {
    /// Asks the server to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            warn!(server = self.name, %error, "the supervision of the server failed");
        }
    }
}

async fn supervise(server: Server, mut child: Child, shutdown: Shutdown) {
    let name = server.name;
    let mut delays = backoff();
    loop {
        let died = tokio::select! {
            status = child.wait() => status,
            () = shutdown.cancelled() => return stop(&server, child).await,
        };
        let status = died.map_or_else(|error| error.to_string(), |status| status.to_string());
        warn!(server = name, status, "server died, restarting it");
        loop {
            tokio::select! {
                () = sleep(delays.next().unwrap_or(STOP_TIMEOUT)) => {}
                () = shutdown.cancelled() => return,
            }
            match server.spawn() {
                Ok(started) => {
                    child = started;
                    break;
                }
                Err(error) => {
                    warn!(
                        server = name,
                        error = platform::runtime::error::error_chain(error.as_ref()),
                        "server does not start, trying again"
                    )
                }
            }
        }
    }
}

async fn stop(server: &Server, mut child: Child) {
    if let Some(id) = child.id() {
        // An error means that the process has already ended.
        let _ = kill(pid(id), server.stop);
    }
    match timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(_) => debug!(server = server.name, "server stopped"),
        Err(_) => {
            warn!(server = server.name, seconds = STOP_TIMEOUT.as_secs(), "server does not stop, killing it");
            if let Err(error) = child.kill().await {
                warn!(server = server.name, %error, "server cannot be killed");
            }
        }
    }
}

/// Stops a server that an `up` which was killed has left running. `pid_file` begins with the process id; `mark` is a text
/// that only the command line of this server contains.
pub(crate) async fn stop_leftover(name: &'static str, pid_file: &Path, mark: &str, signal: Signal) {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let Some(id) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    let is_ours = || std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(mark));
    if !is_ours() {
        return;
    }
    warn!(server = name, pid = id, "stopping a server that an earlier run has left running");
    let _ = kill(pid(id), signal);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while is_ours() {
        if Instant::now() > deadline {
            let _ = kill(pid(id), Signal::SIGKILL);
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32)
}
