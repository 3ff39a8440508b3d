//! The service: it looks again and again for closed days that the archive does not have.

use std::collections::HashMap;

use events::{FeedGap, Period, Symbol, Timestamp, Venue, feed::GapState};
use market_data::InstrumentId;
use object_archive::target::{Target, TargetError};
use platform::{Check, Health, ServiceError, Shutdown, clock, supervise, telemetry::gauge::set_gauge};
use store::{
    Store,
    consumer::lease,
    feeds::progress,
    market::{
        export::{self, Market, TimeRange},
        markets,
    },
};
use tick_history::{HistoryError, TickHistory};
use tracing::{info, warn};

use crate::{
    ArchiveError, SERVICE, Settings,
    day::{Archive, Exported, MAX_GAPS, day_of},
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

/// What was known of a market when all its days before `until` were compared. Which days have other ticks since, the database says.
#[derive(Debug, Clone)]
struct Compared {
    /// How often its gaps had changed, and what they were.
    gap_changes: i64,
    gaps: Vec<FeedGap>,
    until: Timestamp,
}

async fn passes(archive: &Archive<'_>, check: &Check, settings: &Settings) -> Result<(), ServiceError> {
    let mut compared = HashMap::new();
    loop {
        let written = pass(archive, settings, &mut compared).await.inspect_err(count_failure)?;
        check.ready();
        set_gauge(&metrics::gauge!("tickbell_archive_compared_at_seconds"), seconds(clock::now()));
        if written.parts > 0 {
            let Exported { rows, bytes, parts, gaps, .. } = written;
            info!(rows, bytes, parts, gaps, "archived closed days");
        }
        tokio::time::sleep(settings.every).await;
    }
}

/// Writes what the archive does not have of closed days. What a day has is compared with what the archive was found to have of it, so a
/// tick is noticed that comes when its day was written, late or in its order, and so is a day that somebody has found to differ. What
/// is known of the gaps is read before the days are, so that a change in between is noticed the next time.
async fn pass(
    archive: &Archive<'_>,
    settings: &Settings,
    compared: &mut HashMap<InstrumentId, Compared>,
) -> Result<Exported, ArchiveError> {
    let write_after = Period::seconds(u32::try_from(settings.write_after.as_secs()).unwrap_or(u32::MAX));
    let closed = clock::now().before(write_after, Period::SECOND).map_or(Timestamp::EPOCH, |now| day_of(now).0);
    let all = export::markets(archive.store(), None, None).await?;
    let unarchived = export::first_unarchived_days(archive.store(), archive.target.address(), closed).await?;
    let mut written = Exported::default();
    for chunk in all.chunks(MARKETS_PER_STATEMENT) {
        let gap_changes = gap_changes(archive.store(), chunk).await?;
        for (market, gap_changes) in chunk.iter().zip(gap_changes) {
            let before = compared.remove(&market.instrument);
            let gaps = match &before {
                Some(before) if before.gap_changes == gap_changes => before.gaps.clone(),
                _ => gaps(archive.store(), market).await?,
            };
            let from = before.map_or(Timestamp::EPOCH, |before| before.until.min(first_change(&before.gaps, &gaps)));
            let from = unarchived.get(&market.instrument).map_or(from, |day| from.min(*day));
            let mut until = closed;
            for subject in ARCHIVED {
                let (more, differs) = days(archive, (market, subject), from, closed).await?;
                written.add(more);
                until = differs.map_or(until, |day| until.min(day));
            }
            compared.insert(market.instrument, Compared { gap_changes, gaps, until });
        }
    }
    Ok(written)
}

/// Returns the start of the first day of a gap that was not known before, or is known otherwise. What was filled is forgotten after some
/// time, which changes no day.
fn first_change(before: &[FeedGap], now: &[FeedGap]) -> Timestamp {
    if before.len().max(now.len()) >= usize::from(MAX_GAPS) {
        return Timestamp::EPOCH;
    }
    let added = now.iter().filter(|gap| !before.contains(gap));
    let gone = before.iter().filter(|gap| gap.state != GapState::Filled && !now.contains(gap));
    added.chain(gone).map(|gap| day_of(gap.from).0).min().unwrap_or(Timestamp::LAST)
}

/// Writes the days of a range, and returns the first one that differs from the database afterwards.
async fn days(
    archive: &Archive<'_>,
    (market, subject): (&Market, Subject),
    mut from: Timestamp,
    closed: Timestamp,
) -> Result<(Exported, Option<Timestamp>), ArchiveError> {
    let (mut written, mut differs) = (Exported::default(), None);
    while let Some(day) = walk::next_day(archive.store(), (market, subject), (from, closed)).await? {
        let is_archived = match archive.write_day((market, subject), day, |_| {}).await {
            Ok(done) => {
                count(&done);
                written.add(done);
                subject != Subject::Ticks || mark(archive, market, day, &done).await?
            }
            // That of one day holds up no other one.
            Err(error @ (ArchiveError::Damaged(_) | ArchiveError::Manifest(..))) => {
                warn_of_difference(market, day, &error.to_string());
                if subject == Subject::Ticks {
                    unmark(archive, market, day).await?;
                }
                false
            }
            Err(error) => return Err(error),
        };
        if !is_archived {
            differs.get_or_insert(day.0);
        }
        from = day.1;
    }
    Ok((written, differs))
}

/// Notes that a day is archived, once it was read back and compared, and returns whether it is. One to which nothing was written since is
/// not read again.
async fn mark(archive: &Archive<'_>, market: &Market, day: TimeRange, done: &Exported) -> Result<bool, ArchiveError> {
    let (key, address, ticks) = ((market.instrument, day.0), archive.target.address(), done.rows + done.known);
    if done.parts == 0 && export::archived_ticks(archive.store(), key, address).await? == ticks {
        return Ok(true);
    }
    match verify::day_difference(archive, (market, Subject::Ticks), day).await? {
        None => {
            export::mark_archived(archive.store(), key, address, ticks).await?;
            Ok(true)
        }
        Some(detail) => {
            warn_of_difference(market, day, &detail);
            unmark(archive, market, day).await?;
            Ok(false)
        }
    }
}

async fn unmark(archive: &Archive<'_>, market: &Market, day: TimeRange) -> Result<(), ArchiveError> {
    Ok(export::unmark_archived(archive.store(), (market.instrument, day.0), archive.target.address()).await?)
}

fn warn_of_difference(Market { venue, symbol, .. }: &Market, day: TimeRange, detail: &str) {
    warn!(%venue, %symbol, day = %day.0, detail, "the archive differs from the database");
    metrics::counter!("tickbell_archive_differences_total").increment(1);
}

/// Returns how often what is known of the gaps of each market has changed.
async fn gap_changes(store: &Store, chunk: &[Market]) -> Result<Vec<i64>, ArchiveError> {
    let asked: Vec<(Symbol, Option<Venue>)> =
        chunk.iter().map(|market| (market.symbol.clone(), Some(market.venue.clone()))).collect();
    let found = markets::progress(store, &asked).await?;
    Ok(found.into_iter().map(|progress| progress.map_or(0, |progress| progress.gap_changes)).collect())
}

async fn gaps(store: &Store, market: &Market) -> Result<Vec<FeedGap>, ArchiveError> {
    let all = (Timestamp::EPOCH, Timestamp::LAST);
    Ok(progress::gaps_within(store, (&market.venue, &market.symbol), all, MAX_GAPS).await?)
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
    set_gauge(&metrics::gauge!("tickbell_archive_compared_at_seconds"), seconds(clock::now()));
}

fn count(Exported { rows, bytes, parts, .. }: &Exported) {
    metrics::counter!("tickbell_archive_rows_total").increment(*rows);
    metrics::counter!("tickbell_archive_bytes_total").increment(*bytes);
    metrics::counter!("tickbell_archive_parts_total").increment(*parts);
}

/// Returns a time as a gauge has it.
fn seconds(at: Timestamp) -> u64 {
    at.micros().unsigned_abs() / 1_000_000
}

#[cfg(test)]
mod tests {
    use events::feed::{GapBounds, GapReason};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn gap(from: &str, revision: u32, state: GapState) -> FeedGap {
        let (venue, symbol) = (Venue::parse("coinbase").expect("a venue"), Symbol::parse("BTC-USD").expect("a symbol"));
        let lower_bound = at(from).micros().unsigned_abs();
        FeedGap {
            gap_id: FeedGap::id(&venue, &symbol, lower_bound),
            venue,
            symbol,
            revision,
            bounds: GapBounds::Times,
            from: at(from),
            to: None,
            first_missing_id: None,
            last_missing_id: None,
            reason: GapReason::Disconnected,
            state,
            filled: 0,
        }
    }

    #[test]
    fn days_are_looked_at_again_from_the_first_gap_on_that_has_changed() {
        let first = gap("2026-11-01T12:00:00Z", 1, GapState::Unfillable);
        let open = gap("2026-11-03T12:00:00Z", 1, GapState::Open);
        let filled = gap("2026-11-03T12:00:00Z", 2, GapState::Filled);
        let last = gap("2026-11-05T12:00:00Z", 1, GapState::Open);
        let gaps = [first.clone(), open.clone()];
        for (now, from) in [
            (vec![first.clone(), open.clone()], Timestamp::LAST),
            (vec![first.clone(), filled.clone()], at("2026-11-03T00:00:00Z")),
            (vec![first.clone(), open.clone(), last], at("2026-11-05T00:00:00Z")),
            (vec![open], at("2026-11-01T00:00:00Z")),
        ] {
            assert_eq!(first_change(&gaps, &now), from, "{now:?}");
        }
        assert_eq!(first_change(&[first.clone(), filled], &[first]), Timestamp::LAST, "what was filled is forgotten");
    }
}
