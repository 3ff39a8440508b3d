//! Attempts are recorded in batches, because a transaction costs more than an attempt.

use std::{slice, time::Duration};

use platform::{
    Shutdown,
    runtime::{backoff::backoff, error::error_chain},
};
use store::{
    Store,
    notifications::deliveries::{self, DeliveryAttempt},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep, timeout_at},
};
use tracing::{error, warn};

/// The time by which a claim's lease outlives the longest send, so that the attempt can be recorded.
pub(crate) const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of attempts that are recorded in one transaction at most.
const MAX_BATCH: usize = 100;
/// The time for which attempts are collected before a transaction, unless they are many.
const COLLECT_FOR: Duration = Duration::from_millis(50);

/// The queue of attempts to record.
pub(crate) struct AttemptRecorder {
    queue: mpsc::Sender<(DeliveryAttempt, OwnedSemaphorePermit)>,
}

/// Writes attempts to the database.
struct Writer {
    store: Store,
    shutdown: Shutdown,
}

impl AttemptRecorder {
    /// Starts a task that records attempts until the recorder is dropped. Its queue holds `most` of them.
    pub(crate) fn start(store: Store, most: usize, shutdown: Shutdown) -> Self {
        let (queue, mut finished) = mpsc::channel(most);
        let writer = Writer { store, shutdown };
        // The other half of them may be attempted meanwhile.
        let many = (most / 2).clamp(1, MAX_BATCH);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MAX_BATCH);
            while let Some(first) = finished.recv().await {
                let until = Instant::now() + COLLECT_FOR;
                batch.push(first);
                while batch.len() < many
                    && let Ok(Some(next)) = timeout_at(until, finished.recv()).await
                {
                    batch.push(next);
                }
                let (attempts, permits): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                writer.record(&attempts).await;
                drop(permits);
            }
        });
        Self { queue }
    }

    /// Queues an attempt. Its permit is released once it is recorded.
    pub(crate) async fn record(&self, attempt: DeliveryAttempt, unrecorded: OwnedSemaphorePermit) {
        if self.queue.send((attempt, unrecorded)).await.is_err() {
            error!("attempt recorder stopped");
        }
    }
}

impl Writer {
    /// Records a batch, or each attempt by itself where the database refuses the batch because of one of them.
    async fn record(&self, attempts: &[DeliveryAttempt]) {
        if self.save(attempts).await.is_ok() {
            return;
        }
        for attempt in attempts {
            if let Err(error) = self.save(slice::from_ref(attempt)).await {
                let delivery = attempt.update.delivery_id;
                error!(%delivery, error = error_chain(&error), "cannot record an attempt, recording its outcome alone");
                // The outcome decides whether the email is sent again; the text only explains it.
                let mut bare = attempt.clone();
                "the reply could not be recorded; it is in the log".clone_into(&mut bare.update.detail);
                if let Err(error) = self.save(&[bare]).await {
                    error!(%delivery, error = error_chain(&error), "cannot record the outcome of an attempt");
                }
            }
        }
    }

    /// Records attempts, and retries while the database is unavailable: an attempt that is not recorded is repeated, though
    /// under the same Message-ID and a bounded number of times, because the claim has counted it. At shutdown the wait is bounded.
    async fn save(&self, attempts: &[DeliveryAttempt]) -> Result<(), store::Error> {
        let saving = async {
            let mut delays = backoff();
            loop {
                match deliveries::record_attempts(&self.store, attempts.to_vec()).await {
                    Err(error) if error.is_transient() => {
                        warn!(
                            attempts = attempts.len(),
                            error = error_chain(&error),
                            "cannot record attempts, retrying"
                        );
                        sleep(delays.next().unwrap_or(RECORD_TIMEOUT)).await;
                    }
                    result => return result,
                }
            }
        };
        let deadline = async {
            self.shutdown.cancelled().await;
            sleep(RECORD_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            result = saving => result,
            () = deadline => {
                error!(attempts = attempts.len(), "stopped before attempts were recorded; they will be sent again under the same Message-ID");
                Ok(())
            }
        }
    }
}
