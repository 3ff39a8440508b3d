//! The monthly partitions of table `ticks`: created ahead of time and for late ticks, dropped after the retention.

use std::collections::BTreeSet;

use events::{Period, Timestamp};
use market_data::Month;
use platform::clock;
use store::{
    Error, Store,
    market::{
        export::{self, UnarchivedDay},
        partitions,
    },
};
use tokio::time::{Duration, Instant};
use tracing::warn;

use crate::{ArchiveRule, Settings};

/// How often partitions are created ahead of time and dropped.
const EVERY: Duration = Duration::from_secs(3_600);

/// The partitions that are known to exist.
pub(crate) struct Partitions {
    months: BTreeSet<Month>,
    /// The months that were dropped. They are not created again: their ticks are in the candles.
    dropped: BTreeSet<Month>,
    retention: Option<Period>,
    /// The address of the archive that must have a month before it is dropped; none where its age alone counts.
    archive: Option<String>,
    maintained: Option<Instant>,
}

impl Partitions {
    /// Reads which partitions exist. `archive` is the address of the archive.
    pub(crate) async fn open(store: &Store, settings: &Settings, archive: &str) -> Result<Self, Error> {
        let Settings { retention_days, archive: rule, .. } = *settings;
        let archive = (rule == ArchiveRule::Required).then(|| archive.to_owned());
        let retention = (retention_days > 0).then(|| Period::seconds(retention_days * Period::DAY.as_seconds()));
        let (months, dropped) = (partitions::list(store).await?, partitions::dropped(store).await?);
        Ok(Self { months, dropped, retention, archive, maintained: None })
    }

    /// Returns true when the ticks of a month were dropped, so that a repeat of one cannot be distinguished from a new tick.
    pub(crate) fn is_dropped(&self, month: Month) -> bool {
        self.dropped.contains(&month)
    }

    /// Once an hour, creates the partitions of this month and the next and drops those older than the retention.
    pub(crate) async fn maintain(&mut self, store: &Store) -> Result<(), Error> {
        if self.maintained.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        let now = clock::now();
        let month = Month::of(now);
        self.create_missing(store, [month, month.next()]).await?;
        if let Some(oldest) = self.retention.and_then(|retention| now.before(retention, Period::SECOND)) {
            self.drop_months(store, oldest).await?;
        }
        self.maintained = Some(Instant::now());
        Ok(())
    }

    /// Drops the months that end at or before `oldest`. Where the archive is required, one that it does not have as a whole stays.
    async fn drop_months(&mut self, store: &Store, oldest: Timestamp) -> Result<(), Error> {
        let mut waiting = 0_u32;
        for month in partitions::before(store, oldest).await? {
            if let Some(archive) = &self.archive
                && let Some(UnarchivedDay { market, day, stored, archived }) =
                    export::unarchived_day(store, month, archive).await?
            {
                let (venue, symbol) = (market.venue.as_str(), market.symbol.as_str());
                warn!(%month, venue, symbol, %day, stored, archived, archive, "the archive lacks ticks of a month, which is not dropped");
                waiting += 1;
                continue;
            }
            partitions::drop(store, month).await?;
            self.months.remove(&month);
            self.dropped.insert(month);
        }
        metrics::gauge!("tickbell_history_months_waiting_for_archive").set(waiting);
        Ok(())
    }

    /// Creates the partitions of these months that do not exist and were not dropped.
    pub(crate) async fn create_missing(
        &mut self,
        store: &Store,
        months: impl IntoIterator<Item = Month>,
    ) -> Result<(), Error> {
        for month in months {
            if !self.months.contains(&month) && !self.dropped.contains(&month) {
                partitions::create(store, month).await?;
                self.months.insert(month);
            }
        }
        Ok(())
    }
}
