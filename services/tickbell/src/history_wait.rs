//! Waits until the history-writer has committed what an ingestor has published, and counts what was new to it.
//!
//! Whether it is committed is asked of the database where its address is set: the position there moves in the transaction of
//! the ticks. An ingestor without a database asks the broker for what the history-writer has acknowledged, which it does only
//! after the commit; how many ticks were new is then not known. A tick is new when the history holds it under a sequence that
//! the stream gave out during the run: a repeat is either not stored by the broker at all, or has the sequence of its first
//! message in the history.

use std::time::Duration;

use anyhow::bail;
use events::{Timestamp, Venue};
use platform::{Broker, Shutdown, broker::topology};
use store::{Store, consumer::position, market::queries};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::settings::Settings;

const STREAM: &str = "TICKS";
const CONSUMER: &str = "history-writer";
/// The time between two questions.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The time without any progress after which nobody seems to write the history.
const MAX_STANDSTILL: Duration = Duration::from_secs(120);

/// A wait that knows where the stream ended when it began.
pub(crate) struct HistoryWait {
    broker: Broker,
    store: Option<Store>,
    /// The last sequence before the run.
    before: u64,
}

impl HistoryWait {
    /// Notes where the stream ends, before anything is published.
    pub(crate) async fn begin(broker: &Broker, settings: &Settings) -> anyhow::Result<Self> {
        let is_set = settings.database.url != store::Settings::default().url;
        let store = if is_set { Store::connect_now(&settings.database, "operator").await.ok() } else { None };
        if store.is_none() {
            warn!(
                "no database is set or reachable, so --wait cannot count what is new to the history; set DATABASE_URL"
            );
        }
        Ok(Self { broker: broker.clone(), store, before: topology::stream_end(broker, STREAM).await? })
    }

    /// Waits, and returns how many ticks of the venue were new; `None` without a database or after shutdown.
    pub(crate) async fn finish(
        self,
        venue: &Venue,
        times: Option<(Timestamp, Timestamp)>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<u64>> {
        let until = topology::stream_end(&self.broker, STREAM).await?;
        let (mut position, mut moved) = (self.position().await?, Instant::now());
        while position < until {
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = shutdown.cancelled() => return Ok(None),
            }
            let now = self.position().await?;
            if now != position {
                (position, moved) = (now, Instant::now());
            } else if moved.elapsed() > MAX_STANDSTILL {
                bail!(
                    "everything is published, but the history-writer stands at message {position} of {until} for \
                     {} s; see whether it runs (`tickbell status`)",
                    MAX_STANDSTILL.as_secs()
                );
            }
        }
        match (&self.store, times) {
            (Some(store), Some(times)) => {
                Ok(Some(queries::count_ticks(store, venue, times, (self.before, until)).await?))
            }
            (Some(_), None) => Ok(Some(0)),
            (None, _) => Ok(None),
        }
    }

    /// Returns the sequence up to which the history is committed.
    async fn position(&self) -> anyhow::Result<u64> {
        Ok(match &self.store {
            Some(store) => position::progress(store, CONSUMER).await?.position,
            None => topology::acknowledged(&self.broker, STREAM, CONSUMER).await?,
        })
    }
}
