//! Market data that the gateway has in memory, and how it knows that what it has is true.

pub(crate) mod candle_pages;
pub(crate) mod day_changes;
pub(crate) mod day_ranges;
pub(crate) mod latest_prices;
pub(crate) mod progress_reads;
pub(crate) mod streams;
