//! A server as a child process: started, started again when it dies, stopped in order.

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
use tracing::{info, warn};

/// How long a server may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often a process that is not our child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How a server is started and asked to stop.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) command: Box<dyn Fn() -> anyhow::Result<Command> + Send + Sync>,
    pub(crate) stop: Signal,
}

/// A server that is kept running.
pub(crate) struct Running {
    name: &'static str,
    asked: Shutdown,
    task: JoinHandle<()>,
}

impl Server {
    /// InitialPrices it; from then on it is started again whenever it dies.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        let child = self.spawn()?;
        let (name, asked) = (self.name, Shutdown::new());
        let task = tokio::spawn(keep(self, child, asked.clone()));
        Ok(Running { name, asked, task })
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        // A group of its own: Ctrl-C on a terminal is for us, who stop the servers last.
        let mut command = (self.command)()?;
        command.process_group(0).kill_on_drop(true).spawn().with_context(|| format!("start {}", self.name))
    }
}

impl Running {
    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.asked.cancel();
        if let Err(error) = self.task.await {
            warn!(server = self.name, %error, "was not stopped in order");
        }
    }
}

async fn keep(server: Server, mut child: Child, asked: Shutdown) {
    let name = server.name;
    let mut delays = backoff();
    loop {
        let died = tokio::select! {
            status = child.wait() => status,
            () = asked.cancelled() => return stop(&server, child).await,
        };
        let status = died.map_or_else(|error| error.to_string(), |status| status.to_string());
        warn!(server = name, status, "died; starting it again");
        loop {
            tokio::select! {
                () = sleep(delays.next().unwrap_or(GRACE)) => {}
                () = asked.cancelled() => return,
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
                        "does not start"
                    )
                }
            }
        }
    }
}

async fn stop(server: &Server, mut child: Child) {
    if let Some(id) = child.id() {
        // A process that has just ended is what is wanted.
        let _ = kill(pid(id), server.stop);
    }
    match timeout(GRACE, child.wait()).await {
        Ok(_) => info!(server = server.name, "stopped"),
        Err(_) => {
            warn!(server = server.name, seconds = GRACE.as_secs(), "does not stop; killing it");
            if let Err(error) = child.kill().await {
                warn!(server = server.name, %error, "cannot be killed");
            }
        }
    }
}

/// Stops a server that a killed `up` has left behind. `pid_file` begins with the process's number; `mark` is in the
/// command line of nothing else.
pub(crate) async fn stop_leftover(name: &'static str, pid_file: &Path, mark: &str, signal: Signal) {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let Some(id) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    let is_ours = || std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(mark));
    if !is_ours() {
        return;
    }
    warn!(server = name, pid = id, "was left behind by an earlier run; stopping it");
    let _ = kill(pid(id), signal);
    let deadline = Instant::now() + GRACE;
    while is_ours() {
        if Instant::now() > deadline {
            let _ = kill(pid(id), Signal::SIGKILL);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id as i32)
}
