//! Ctrl-C and SIGTERM ask for a stop in order; a second one does not wait.

use platform::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// A token that is cancelled at the first signal.
pub(crate) fn shutdown() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => info!(signal = "SIGINT", "stopping"),
            _ = terminate.recv() => info!(signal = "SIGTERM", "stopping"),
        }
        asked.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        warn!("asked twice: not waiting");
        std::process::exit(130);
    });
    Ok(shutdown)
}
