//! SIGINT and SIGTERM start an orderly shutdown; a second signal ends the process at once.

use platform::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// The exit status after a second signal: 128 plus SIGINT's number, as shells report it.
const INTERRUPTED: i32 = 130;

/// Returns a token that the first signal cancels.
pub(crate) fn shutdown() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let requested = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => info!(signal = "SIGINT", "shutting down"),
            _ = terminate.recv() => info!(signal = "SIGTERM", "shutting down"),
        }
        requested.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        warn!("second signal: exiting without waiting");
        std::process::exit(INTERRUPTED);
    });
    Ok(shutdown)
}
