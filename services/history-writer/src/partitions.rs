//! The months of the `ticks` table: made ahead, made for what comes late, dropped when they are too old.

use std::collections::BTreeSet;

use events::Period;
use platform::clock;
use store::{
    Error, Store,
    market::history::{self, Month},
};
use tokio::time::{Duration, Instant};

/// How often months are made ahead and dropped.
const EVERY: Duration = Duration::from_secs(3_600);

/// The months that are known to have a partition.
pub(crate) struct Partitions {
    known: BTreeSet<Month>,
    retention: Option<Period>,
    tended: Option<Instant>,
}

impl Partitions {
    /// Reads which months there are.
    pub(crate) async fn open(store: &Store, retention_days: u32) -> Result<Self, Error> {
        let retention = (retention_days > 0).then(|| Period::seconds(retention_days * Period::DAY.as_seconds()));
        Ok(Self { known: history::list_partitions(&store).await?, retention, tended: None })
    }

    /// Once an hour: makes this month and the next, and drops what is older than the retention.
    pub(crate) async fn tend(&mut self, store: &Store) -> Result<(), Error> {
        if self.tended.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        let now = clock::now();
        let month = Month::of(now);
        self.make(store, [month, month.next()]).await?;
        if let Some(oldest) = self.retention.and_then(|kept| now.before(kept, Period::SECOND)) {
            for month in history::drop_partitions_before(&store, oldest).await? {
                self.known.remove(&month);
            }
        }
        self.tended = Some(Instant::now());
        Ok(())
    }

    /// Makes the months that are not there yet.
    pub(crate) async fn make(&mut self, store: &Store, months: impl IntoIterator<Item = Month>) -> Result<(), Error> {
        for month in months {
            if !self.known.contains(&month) {
                history::create_partition(&store, month).await?;
                self.known.insert(month);
            }
        }
        Ok(())
    }
}
