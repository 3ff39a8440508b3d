//! The service: it looks again and again for closed days that the archive does not have.

use std::collections::HashMap;

use events::{Period, Symbol, Timestamp, Venue};
use market_data::InstrumentId;
use object_archive::target::{Target, TargetError};
use platform::{Check, Health, ServiceError, Shutdown, clock, supervise};
use store::{
    Store,
    consumer::lease,
    market::{
        export::{self, Market, TimeRange},
        markets,
    },
};
use tick_history::{HistoryError, TickHistory};
use tracing::{info, warn};

use crate::{
    ArchiveError, SERVICE, Settings,
    day::{Archive, Exported, day_of},
    encoder::Format,
    rows::{ARCHIVED, Subject},
    verify, walk,
};

/// The most markets that one statement asks for.
const MARKETS_PER_STATEMENT: usize = 1_000;

/// Archives closed days until shutdown. One instance is the leader, others are standbys.
pub async fn run(store: Store, health: &Health, settings: Settings, shutdown: Shutdown) -> Result<(), ServiceError> {
    let check = health.check(SERVICE);
    register_metrics();
    let target = Target::open(&settings.target()).map_err(ArchiveError::from)?;
    let history = TickHistory::open(store, &settings.target()).map_err(ArchiveError::from)?;
    supervise(SERVICE, &check, &shutdown, || lead(&history, &target, &check, &settings)).await
}

async fn lead(history: &TickHistory, target: &Target, check: &Check, settings: &Settings) -> Result<(), ServiceError> {
    let mut lease = lease::acquire(history.store(), SERVICE, check).await?;
    let archive = Archive { history, target, format: Format::Parquet };
    tokio::select! {
        error = lease.lost() => Err(error),
        error = passes(&archive, check, settings) => error,
    }
}

/// How far a market is archived.
#[derive(Debug, Clone, Copy)]
struct Archived {
    /// The number of its late ticks when everything before `until` was compared. As long as it stays, nothing came there later.
    late_ticks: i64,
    until: Timestamp,
}

async fn passes(archive: &Archive<'_>, check: &Check, settings: &Settings) -> Result<(), ServiceError> {
    let mut archived = HashMap::new();
    loop {
        let written = pass(archive, settings, &mut archived).await.inspect_err(count_failure)?;
        check.ready();
        metrics::gauge!("tickbell_archive_compared_at_seconds").set(seconds(clock::now()));
        if written.parts > 0 {
            let Exported { rows, bytes, parts, gaps, .. } = written;
            info!(rows, bytes, parts, gaps, "archived closed days");
        }
        tokio::time::sleep(settings.every).await;
    }
}

/// Writes what the archive does not have of closed days.
async fn pass(
    archive: &Archive<'_>,
    settings: &Settings,
    archived: &mut HashMap<InstrumentId, Archived>,
) -> Result<Exported, ArchiveError> {
    let write_after = Period::seconds(u32::try_from(settings.write_after.as_secs()).unwrap_or(u32::MAX));
    let closed = clock::now().before(write_after, Period::SECOND).map_or(Timestamp::EPOCH, |now| day_of(now).0);
    let all = export::markets(archive.store(), None, None).await?;
    let mut written = Exported::default();
    for chunk in all.chunks(MARKETS_PER_STATEMENT) {
        let late_ticks = late_ticks(archive.store(), chunk).await?;
        for (market, late_ticks) in chunk.iter().zip(late_ticks) {
            let known = archived.get(&market.instrument).filter(|known| known.late_ticks == late_ticks);
            let from = known.map_or(Timestamp::EPOCH, |known| known.until);
            for subject in ARCHIVED {
                written.add(days(archive, (market, subject), from, closed).await?);
            }
            archived.insert(market.instrument, Archived { late_ticks, until: closed });
        }
    }
    Ok(written)
}

async fn days(
    archive: &Archive<'_>,
    (market, subject): (&Market, Subject),
    mut from: Timestamp,
    closed: Timestamp,
) -> Result<Exported, ArchiveError> {
    let mut written = Exported::default();
    while let Some(day) = walk::next_day(archive.store(), (market, subject), (from, closed)).await? {
        let done = archive.write_day((market, subject), day, |_| {}).await?;
        count(&done);
        if subject == Subject::Ticks {
            mark(archive, market, day, &done).await?;
        }
        written.add(done);
        from = day.1;
    }
    Ok(written)
}

/// Notes that a day is archived, once it was read back and compared. One to which nothing was written since is not read again.
async fn mark(archive: &Archive<'_>, market: &Market, day: TimeRange, done: &Exported) -> Result<(), ArchiveError> {
    let (key, address, ticks) = ((market.instrument, day.0), archive.target.address(), done.rows + done.known);
    if done.parts == 0 && export::archived_ticks(archive.store(), key, address).await? == ticks {
        return Ok(());
    }
    match verify::day_difference(archive, (market, Subject::Ticks), day).await? {
        None => Ok(export::mark_archived(archive.store(), key, address, ticks).await?),
        Some(detail) => {
            let Market { venue, symbol, .. } = market;
            warn!(%venue, %symbol, day = %day.0, detail, "the archive differs from the database");
            metrics::counter!("tickbell_archive_differences_total").increment(1);
            Ok(export::unmark_archived(archive.store(), key, address).await?)
        }
    }
}

async fn late_ticks(store: &Store, chunk: &[Market]) -> Result<Vec<i64>, ArchiveError> {
    let asked: Vec<(Symbol, Option<Venue>)> =
        chunk.iter().map(|market| (market.symbol.clone(), Some(market.venue.clone()))).collect();
    let found = markets::progress(store, &asked).await?;
    Ok(found.into_iter().map(|progress| progress.map_or(0, |progress| progress.late_ticks)).collect())
}

/// Counts an error of the folder or the store.
fn count_failure(error: &ArchiveError) {
    if let ArchiveError::Target(error) | ArchiveError::History(HistoryError::Archive(error)) = error {
        let reason = if matches!(error, TargetError::Unavailable(_)) { "unavailable" } else { "refused" };
        metrics::counter!("tickbell_archive_store_errors_total", "reason" => reason).increment(1);
    }
}

fn register_metrics() {
    for reason in ["refused", "unavailable"] {
        metrics::counter!("tickbell_archive_store_errors_total", "reason" => reason).increment(0);
    }
    count(&Exported::default());
    metrics::counter!("tickbell_archive_differences_total").increment(0);
    // One that never comes to its end is noticed as well.
    metrics::gauge!("tickbell_archive_compared_at_seconds").set(seconds(clock::now()));
}

fn count(Exported { rows, bytes, parts, .. }: &Exported) {
    metrics::counter!("tickbell_archive_rows_total").increment(*rows);
    metrics::counter!("tickbell_archive_bytes_total").increment(*bytes);
    metrics::counter!("tickbell_archive_parts_total").increment(*parts);
}

/// Returns a time as a gauge has it.
fn seconds(at: Timestamp) -> f64 {
    (at.micros() / 1_000_000) as f64 // float: the type of a gauge
}
