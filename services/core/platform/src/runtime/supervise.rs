//! Supervision: a service that fails with a transient error is started again, a permanent error stops it.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::{
    Check, ServiceError, Shutdown,
    runtime::{backoff::backoff, error::error_chain},
};

/// A run that lasted this long had recovered, so the next error starts again with the shortest wait.
const RECOVERED_AFTER: Duration = Duration::from_secs(30);

/// Runs `run` until it returns `Ok`, fails with a permanent error, or `shutdown` is cancelled.
///
/// Each run opens what it needs and reads its position from the database, so a new run is the whole recovery: from a lost
/// connection, a lost answer to COMMIT, or a second instance that was faster.
pub async fn supervise<F, R>(
    service: &'static str,
    check: &Check,
    shutdown: &Shutdown,
    mut run: F,
) -> Result<(), ServiceError>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), ServiceError>>,
{
    let retries = metrics::counter!("tickbell_session_retries_total", "service" => service);
    retries.increment(0); // Prometheus would not see the step from an absent counter to one.
    let mut delays = backoff();
    loop {
        let started = Instant::now();
        let result = tokio::select! {
            // It is the largest future of a service, and without optimisation each future around it would hold copies of it.
            result = Box::pin(run()) => result,
            () = shutdown.cancelled() => Ok(()),
        };
        match result {
            Ok(()) => {
                debug!(service, "service stopped");
                return Ok(());
            }
            Err(error @ ServiceError::Permanent(..)) => {
                check.failing(error_chain(&error));
                error!(service, error = error_chain(&error), "service failed with a permanent error");
                return Err(error);
            }
            Err(error @ ServiceError::Transient(..)) => {
                check.failing(error_chain(&error));
                retries.increment(1);
                if started.elapsed() > RECOVERED_AFTER {
                    delays = backoff();
                }
                let wait = delays.next().unwrap_or(Duration::from_secs(5));
                let wait_ms = wait.as_millis() as u64;
                warn!(service, error = error_chain(&error), wait_ms, "service failed, retrying");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
            }
        }
    }
}
