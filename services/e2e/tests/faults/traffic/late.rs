//! Trades that are missed at first, and filled in when newer ones have been judged.

use events::{
    FeedGap, Symbol, Timestamp, Venue,
    feed::{GapBounds, GapReason, GapState},
    tick::TickSource,
};
use platform::clock;

use crate::{
    record::Record,
    traffic::publisher::{Publisher, VENUE, tick_at},
};

/// The symbol whose trades are missed. Its alert waits for [`HIGH`].
pub(crate) const SYMBOL: &str = "L1-USD";
pub(crate) const HIGH: u32 = 100;
/// Who is notified of the alert.
pub(crate) const ADDRESS: &str = "late@example.com";
/// The distance of the ids of two gaps.
const IDS: u64 = 10;

/// Publishes a trade, misses two, publishes the next one, and fills in what was missed. The alert is met in the gap alone.
pub(crate) async fn miss_and_fill_in(publisher: &mut Publisher, record: &Record, gap: u64) {
    let first = (gap + 1) * IDS;
    let from = publish(publisher, record, (first, HIGH - 10), None).await;
    publisher.publish(&report(first + 1, from, None).to_message()).await;
    let missed = clock::now();
    let later = Timestamp::from_micros(missed.micros() + 1).expect("a time");
    let to = publish(publisher, record, (first + 3, HIGH - 8), None).await;
    publish(publisher, record, (first + 1, HIGH + 5), Some(missed)).await;
    publish(publisher, record, (first + 2, HIGH - 9), Some(later)).await;
    publisher.publish(&report(first + 1, from, Some(to)).to_message()).await;
    record.entries().late.insert(first + 1);
}

/// Publishes a trade of now, or one that is filled in, and returns its time.
async fn publish(
    publisher: &mut Publisher,
    record: &Record,
    (id, price): (u64, u32),
    missed_at: Option<Timestamp>,
) -> Timestamp {
    let source = if missed_at.is_some() { TickSource::Backfill } else { TickSource::Live };
    let at = missed_at.unwrap_or_else(clock::now);
    let id = id.to_string();
    publisher.publish(&tick_at(at, source, SYMBOL, price).to_message(&id)).await;
    record.add_tick(SYMBOL, &id, price);
    at
}

/// Says that two trades are missing, or that they are filled in.
fn report(first_missing_id: u64, from: Timestamp, to: Option<Timestamp>) -> FeedGap {
    let (venue, symbol) = (Venue::parse(VENUE).expect("a venue"), Symbol::parse(SYMBOL).expect("a symbol"));
    let is_filled = to.is_some();
    FeedGap {
        gap_id: FeedGap::id(&venue, &symbol, first_missing_id),
        revision: if is_filled { 2 } else { 1 },
        bounds: GapBounds::Ids,
        from,
        to,
        first_missing_id: Some(first_missing_id),
        last_missing_id: is_filled.then_some(first_missing_id + 1),
        reason: GapReason::MissedIds,
        state: if is_filled { GapState::Filled } else { GapState::Open },
        filled: if is_filled { 2 } else { 0 },
        venue,
        symbol,
    }
}
