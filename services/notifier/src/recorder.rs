//! How attempts ended is recorded together: a transaction costs more than an attempt.

use std::{slice, time::Duration};

use platform::{
    Shutdown,
    runtime::{error::error_chain, supervise::backoff},
};
use store::{
    Store,
    notifications::deliveries::{self, Attempt},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::sleep,
};
use tracing::{error, warn};

/// How long a claim outlives the longest send, for recording how it ended.
pub(crate) const RECORDING: Duration = Duration::from_secs(10);
/// How many attempts are recorded in one transaction at most.
const TOGETHER: usize = 100;
/// What ends so soon after another is recorded with it.
const GATHER: Duration = Duration::from_millis(10);

/// Takes what is to be recorded.
pub(crate) struct Recorder {
    queue: mpsc::Sender<(Attempt, OwnedSemaphorePermit)>,
}

/// Records it.
struct Desk {
    store: Store,
    shutdown: Shutdown,
}

impl Recorder {
    /// Records until it is dropped. As many may wait as are attempted at the same time.
    pub(crate) fn start(store: Store, concurrency: u16, shutdown: Shutdown) -> Self {
        let (queue, mut ended) = mpsc::channel(concurrency.into());
        let desk = Desk { store, shutdown };
        tokio::spawn(async move {
            let mut together = Vec::with_capacity(TOGETHER);
            while let Some(first) = ended.recv().await {
                sleep(GATHER).await;
                together.push(first);
                while together.len() < TOGETHER
                    && let Ok(next) = ended.try_recv()
                {
                    together.push(next);
                }
                let (attempts, slots): (Vec<_>, Vec<_>) = together.drain(..).unzip();
                desk.record(&attempts).await;
                drop(slots);
            }
        });
        Self { queue }
    }

    /// Has an attempt recorded, and its slot given back after that.
    pub(crate) async fn record(&self, attempt: Attempt, slot: OwnedSemaphorePermit) {
        if self.queue.send((attempt, slot)).await.is_err() {
            error!("nothing is recorded any more");
        }
    }
}

impl Desk {
    /// One that the database refuses must not keep the others from being recorded.
    async fn record(&self, attempts: &[Attempt]) {
        if self.save(attempts).await.is_ok() {
            return;
        }
        for attempt in attempts {
            if let Err(error) = self.save(slice::from_ref(attempt)).await {
                error!(delivery = %attempt.update.delivery_id, error = error_chain(&error), "cannot be recorded");
            }
        }
    }

    /// Again and again while the database is away: what is not recorded is sent twice, if under the same Message-ID. A
    /// process that is to stop does not wait for ever.
    async fn save(&self, attempts: &[Attempt]) -> Result<(), store::Error> {
        let saving = async {
            let mut delays = backoff();
            loop {
                match deliveries::record_attempts(&self.store, attempts.to_vec()).await {
                    Err(error) if error.is_transient() => {
                        warn!(
                            attempts = attempts.len(),
                            error = error_chain(&error),
                            "not recorded yet, will try again"
                        );
                        sleep(delays.next().unwrap_or(RECORDING)).await;
                    }
                    ended => return ended,
                }
            }
        };
        let patience = async {
            self.shutdown.cancelled().await;
            sleep(RECORDING).await;
        };
        tokio::select! {
            biased;
            ended = saving => ended,
            () = patience => {
                error!(attempts = attempts.len(), "stopped before they were recorded; they are sent again under the same Message-ID");
                Ok(())
            }
        }
    }
}
