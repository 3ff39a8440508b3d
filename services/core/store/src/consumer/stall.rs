//! Tells when a run stands still: messages have arrived, and no batch has been finished for long.

use std::{
    convert::Infallible,
    future::{self, Future},
    time::Duration,
};

use platform::Check;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The time without a finished batch after which the service is not ready.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// The batches of a run that have begun and are not finished.
#[derive(Debug, Default)]
pub(super) struct Pending(watch::Sender<(usize, Option<Instant>)>);

impl Pending {
    /// Records that messages for a batch have arrived.
    pub(super) fn began(&self) {
        self.0.send_modify(|(batches, since)| {
            *batches += 1;
            since.get_or_insert_with(Instant::now);
        });
    }

    /// Records that the oldest batch is finished.
    pub(super) fn finished(&self) {
        self.0.send_modify(|(batches, since)| {
            *batches = batches.saturating_sub(1);
            *since = (*batches > 0).then(Instant::now);
        });
    }

    /// Makes a check fail while the run stands still. It runs until the future is dropped.
    pub(super) fn report(&self, check: &Check) -> impl Future<Output = Infallible> + use<> {
        report(self.0.subscribe(), check.clone())
    }
}

async fn report(mut pending: watch::Receiver<(usize, Option<Instant>)>, check: Check) -> Infallible {
    loop {
        let since = match pending.wait_for(|(_, since)| since.is_some()).await.map(|pending| pending.1) {
            Ok(Some(since)) => since,
            _ => return future::pending().await,
        };
        let was_finished = |pending: &(usize, Option<Instant>)| pending.1 != Some(since);
        if timeout_at(since + STALLED_AFTER, pending.wait_for(was_finished)).await.is_ok() {
            continue;
        }
        let seconds = STALLED_AFTER.as_secs();
        check.failing(format!("messages have arrived, and no batch of them was finished for {seconds} s"));
        if pending.wait_for(was_finished).await.is_err() {
            return future::pending().await;
        }
        check.ready();
    }
}

#[cfg(test)]
mod tests {
    use platform::Health;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_has_begun_must_be_finished_in_time() {
        let (health, pending) = (Health::default(), Pending::default());
        let check = health.check("test");
        check.ready();
        tokio::spawn(pending.report(&check));
        let is_ready_after = async |seconds| {
            tokio::task::yield_now().await;
            advance(Duration::from_secs(seconds)).await;
            tokio::task::yield_now().await;
            health.is_ready()
        };
        assert!(is_ready_after(60).await, "nothing has arrived");
        pending.began();
        assert!(is_ready_after(9).await);
        pending.began();
        assert!(!is_ready_after(2).await, "more has arrived, and nothing was finished");
        pending.finished();
        assert!(is_ready_after(9).await, "one was finished, and the other is being committed");
        assert!(!is_ready_after(2).await);
        pending.finished();
        assert!(is_ready_after(60).await, "all is done");
    }
}
