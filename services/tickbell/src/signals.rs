//! SIGINT, SIGTERM and SIGHUP start an orderly shutdown; a second SIGINT or SIGTERM ends the process at once, and so does a
//! shutdown that takes too long.

use std::time::Duration;

use platform::Shutdown;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{info, warn};

/// The exit status after a second signal: 128 plus SIGINT's number, as shells report it.
const INTERRUPTED: i32 = 130;

/// The longest time that a process takes to leave, whatever state its servers are in. What is not committed by then is applied
/// again by the next run.
const LEAVE_WITHIN: Duration = Duration::from_secs(9);

/// Returns a token that the first signal cancels. The process ends `drain` and nine seconds later at the latest.
pub(crate) fn shutdown(drain: Duration) -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // A handler would undo nohup, which asks for a process that outlives its terminal.
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    let requested = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => info!(signal = "SIGINT", "shutting down"),
            _ = terminate.recv() => info!(signal = "SIGTERM", "shutting down"),
            () = received(hangup.as_mut()) => info!(signal = "SIGHUP", "shutting down"),
        }
        requested.cancel();
        // Not SIGHUP: the kernel and the shell both send one when a terminal is closed.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = sleep(drain + LEAVE_WITHIN) => {
                warn!(seconds = LEAVE_WITHIN.as_secs(), "a server does not answer, leaving without waiting for it");
                std::process::exit(0);
            }
        }
        warn!("second signal: exiting without waiting");
        std::process::exit(INTERRUPTED);
    });
    Ok(shutdown)
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns whether the process was started with SIGHUP ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status, SignalKind::hangup().as_raw_value())
}

/// Reads the mask `SigIgn` of a page `/proc/PID/status`, in which bit 0 stands for signal 1.
fn ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_found_in_the_mask() {
        let status = |mask| format!("Name:\ttickbell\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        assert!(ignored(&status("0000000000000001"), 1));
        assert!(ignored(&status("0000000000001001"), 1));
        assert!(!ignored(&status("0000000000001000"), 1));
        assert!(!ignored("", 1));
    }
}
