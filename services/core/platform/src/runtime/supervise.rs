//! Keeps a service's session running: what may go away is waited out, what will not stops the service.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::{Check, ServiceError, Shutdown, runtime::error::error_chain};

/// A session that lasted this long had recovered, so the next fault starts again with the shortest wait.
const RECOVERED: Duration = Duration::from_secs(30);

/// The waits between attempts at something that must succeed in the end: 100 ms to 5 s, jittered, without end.
pub fn backoff() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Runs `session` until it ends by itself, `shutdown` is asked for, or it fails for good.
///
/// A session opens what it needs and reads its position from the database, so beginning it anew is the whole recovery:
/// from a lost connection, a lost answer to COMMIT, or a second instance that was faster.
pub async fn supervise<F, S>(
    service: &'static str,
    check: &Check,
    shutdown: &Shutdown,
    mut session: F,
) -> Result<(), ServiceError>
where
    F: FnMut() -> S,
    S: Future<Output = Result<(), ServiceError>>,
{
    let retries = metrics::counter!("tickbell_session_retries_total", "service" => service);
    retries.increment(0); // A first step from nothing to one would not be seen as a step.
    let mut delays = backoff();
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            ended = session() => ended,
            () = shutdown.cancelled() => Ok(()),
        };
        match ended {
            Ok(()) => {
                info!(service, "stopped");
                return Ok(());
            }
            Err(fault @ ServiceError::Permanent(..)) => {
                check.failing(error_chain(&fault));
                error!(service, error = error_chain(&fault), "cannot go on");
                return Err(fault);
            }
            Err(fault @ ServiceError::Transient(..)) => {
                check.failing(error_chain(&fault));
                retries.increment(1);
                if began.elapsed() > RECOVERED {
                    delays = backoff();
                }
                let wait = delays.next().unwrap_or(Duration::from_secs(5));
                warn!(service, error = error_chain(&fault), wait_ms = wait.as_millis() as u64, "will try again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
            }
        }
    }
}
