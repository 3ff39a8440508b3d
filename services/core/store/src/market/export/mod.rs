//! History as it leaves the database: whole rows, in pages that follow each other without an open transaction.
//!
//! A transaction that is open for as long as a slow reader needs would hold back the server's cleaning, and the server ends one
//! that idles for five seconds. So each page is a statement of its own, which begins behind the last row of the page before it.

mod archived;
mod days;
mod dropped;
mod text;
mod ticks;

pub use archived::{
    UnarchivedDay, archived_ticks, first_unarchived_days, mark_archived, unarchived_day, unmark_archived,
};
pub use days::{
    CandleSummary, TickSummary, TimeRange, count_ticks, first_candle, first_tick, last_tick, summarize_candles,
    summarize_ticks,
};
pub use dropped::{DroppedDay, dropped_days};
pub use text::TextFormat;
pub use ticks::{ExportedTick, ExportedTicks, Market, TickBookmark, TickSelection, markets, ticks};
